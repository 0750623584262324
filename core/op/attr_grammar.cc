#include "core/op/attr_grammar.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// A cursor over the declaration; every Take skips white space first.
class Scanner {
 public:
  explicit Scanner(absl::string_view text) : rest_(text) {}
  bool Take(absl::string_view token) {
    Skip();
    return absl::ConsumePrefix(&rest_, token);
  }
  bool AtEnd() {
    Skip();
    return rest_.empty();
  }
  char Peek() {
    Skip();
    return rest_.empty() ? '\0' : rest_[0];
  }
  absl::string_view Word() {
    Skip();
    size_t n = 0;
    while (n < rest_.size() && (absl::ascii_isalnum(rest_[n]) || rest_[n] == '_')) ++n;
    return Cut(n);
  }
  absl::string_view Number() {
    Skip();
    size_t n = 0;
    while (n < rest_.size() && (absl::ascii_isalnum(rest_[n]) || absl::StrContains("+-.", rest_[n]))) ++n;
    return Cut(n);
  }
  absl::StatusOr<std::string> Quoted() {
    Skip();
    char quote = rest_.empty() ? '\0' : rest_[0];
    if (quote != '\'' && quote != '"') return InvalidArgument("a quoted string is missing at '", rest_, "'");
    size_t end = rest_.find(quote, 1);
    if (end == absl::string_view::npos) return InvalidArgument("a quote is not closed in '", rest_, "'");
    std::string s(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return s;
  }
  absl::string_view rest() const { return rest_; }

 private:
  void Skip() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }
  absl::string_view Cut(size_t n) {
    absl::string_view word = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return word;
  }
  absl::string_view rest_;
};

absl::Status ParseTypeWord(absl::string_view word, AttrDef* def) {
  for (const char* plain : {"string", "int", "float", "bool", "type", "shape", "tensor", "func"}) {
    if (word == plain) {
      def->type = plain;
      return absl::OkStatus();
    }
  }
  ASSIGN_OR_RETURN(def->allowed_types, ParseTypeOrSet(word));
  def->type = "type";
  return absl::OkStatus();
}

absl::Status ParseBraces(Scanner& s, AttrDef* def) {
  while (!s.Take("}")) {
    if (s.Peek() == '\'' || s.Peek() == '"') {
      ASSIGN_OR_RETURN(std::string value, s.Quoted());
      def->allowed_strings.push_back(std::move(value));
      def->type = "string";
    } else {
      ASSIGN_OR_RETURN(DTypeSet set, ParseTypeOrSet(s.Word()));
      def->allowed_types = def->allowed_types | set;
      def->type = "type";
    }
    if (!s.Take(",") && s.Peek() != '}') return InvalidArgument("',' or '}' is missing at '", s.rest(), "'");
  }
  return absl::OkStatus();
}

absl::StatusOr<AttrValue> ParseOne(absl::string_view type, Scanner& s) {
  if (type == "string") {
    ASSIGN_OR_RETURN(std::string value, s.Quoted());
    return AttrValue(value);
  }
  if (type == "shape") {
    if (s.Take("{")) {
      if (s.Take("unknown_rank")) {
        if (!s.Take(":") || !s.Take("true")) return InvalidArgument("wanted unknown_rank: true");
        if (!s.Take("}")) return InvalidArgument("'}' is missing");
        return AttrValue(PartialShape());
      }
      if (!s.Take("}")) return InvalidArgument("'}' is missing");
      return AttrValue(PartialShape(Shape()));
    }
    return InvalidArgument("a shape default is {} or { unknown_rank: true }");
  }
  absl::string_view word = s.Number();
  if (type == "int") {
    int64_t i;
    if (absl::SimpleAtoi(word, &i)) return AttrValue(i);
  } else if (type == "float") {
    float f;
    if (absl::SimpleAtof(word, &f)) return AttrValue(f);
  } else if (type == "bool") {
    if (word == "true") return AttrValue(true);
    if (word == "false") return AttrValue(false);
  } else if (type == "type") {
    if (s.Take("_")) {  // DT_FLOAT: the number scanner stops at '_'
      word = s.Number();
    }
    DType t = DTypeFromName(word);
    if (t != DType::kInvalid) return AttrValue(t);
  }
  return InvalidArgument("'", word, "' is no ", type);
}

template <typename T>
absl::StatusOr<AttrValue> ParseListOf(absl::string_view type, Scanner& s) {
  std::vector<T> values;
  while (!s.Take("]")) {
    ASSIGN_OR_RETURN(AttrValue one, ParseOne(type, s));
    values.push_back(*one.As<T>());
    if (!s.Take(",") && s.Peek() != ']') return InvalidArgument("',' or ']' is missing at '", s.rest(), "'");
  }
  return AttrValue(std::move(values));
}

absl::StatusOr<AttrValue> ParseDefault(const std::string& type, Scanner& s) {
  absl::string_view element = type;
  if (!absl::ConsumePrefix(&element, "list(")) return ParseOne(type, s);
  absl::ConsumeSuffix(&element, ")");
  if (!s.Take("[")) return InvalidArgument("a list default begins with '['");
  if (element == "string") return ParseListOf<std::string>(element, s);
  if (element == "int") return ParseListOf<int64_t>(element, s);
  if (element == "float") return ParseListOf<float>(element, s);
  if (element == "bool") return ParseListOf<bool>(element, s);
  if (element == "type") return ParseListOf<DType>(element, s);
  if (element == "shape") return ParseListOf<PartialShape>(element, s);
  if (s.Take("]")) return AttrValue(std::vector<std::string>());
  return InvalidArgument("a list(", element, ") can only default to []");
}

}  // namespace

absl::StatusOr<DTypeSet> ParseTypeOrSet(absl::string_view name) {
  if (name == "numbertype") return kNumberTypes;
  if (name == "realnumbertype" || name == "realnumberictype") return kRealTypes;
  if (name == "quantizedtype") return kQuantizedTypes;
  DType t = DTypeFromName(name);
  if (t == DType::kInvalid) return InvalidArgument("'", name, "' is no type");
  return DTypeSet{t};
}

absl::StatusOr<AttrDef> ParseAttrDeclaration(absl::string_view text) {
  Scanner s(text);
  AttrDef def;
  def.name = std::string(s.Word());
  if (def.name.empty() || !s.Take(":")) return InvalidArgument("an attribute reads 'name: type', found '", text, "'");
  bool list = s.Take("list");
  if (list && !s.Take("(")) return InvalidArgument("'(' is missing after list in '", text, "'");
  if (s.Take("{")) {
    RETURN_IF_ERROR(ParseBraces(s, &def));
  } else {
    RETURN_IF_ERROR(ParseTypeWord(s.Word(), &def));
  }
  if (list) {
    if (!s.Take(")")) return InvalidArgument("')' is missing in '", text, "'");
    def.type = absl::StrCat("list(", def.type, ")");
  }
  if (s.Take(">=")) {
    def.has_minimum = absl::SimpleAtoi(s.Number(), &def.minimum);
    if (!def.has_minimum) return InvalidArgument("a number is missing after >= in '", text, "'");
  }
  if (s.Take("=")) {
    ASSIGN_OR_RETURN(def.default_value, ParseDefault(def.type, s));
  }
  if (!s.AtEnd()) return InvalidArgument("'", s.rest(), "' is left over in '", text, "'");
  return def;
}

}  // namespace sluice
