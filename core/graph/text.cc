#include "core/graph/text.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// "float[2,2]{1,2,3,4}": types that have plain literals; others print as in messages and cannot be read back.
std::string TensorText(const Tensor& t, int limit) {
  std::string out = absl::StrCat(DTypeName(t.dtype()), t.shape().ToString(), "{");
  int64_t n = std::min<int64_t>(limit, t.num_elements());
  for (int64_t i = 0; i < n; ++i) {
    if (i) out += ",";
    switch (t.dtype()) {
      case DType::kFloat:
        absl::StrAppend(&out, t.data<float>()[i]);
        break;
      case DType::kDouble:
        absl::StrAppend(&out, t.data<double>()[i]);
        break;
      case DType::kBool:
        absl::StrAppend(&out, t.data<bool>()[i] ? "true" : "false");
        break;
      case DType::kString:
        absl::StrAppend(&out, "'", absl::CEscape(t.data<std::string>()[i]), "'");
        break;
      default:
        if (!IsInteger(t.dtype())) return absl::StrCat("<", t.ToString(limit), ">");
        absl::StrAppend(&out, t.IntAt(i));
    }
  }
  return absl::StrCat(out, n < t.num_elements() ? ",...}" : "}");
}

std::string AttrText(const AttrValue& value, const TextOptions& options) {
  if (const Tensor* t = value.As<Tensor>()) return TensorText(*t, options.tensor_elements);
  if (const DType* t = value.As<DType>()) return std::string(DTypeName(*t));
  if (const FuncRef* f = value.As<FuncRef>()) return absl::StrCat("@", f->name);
  return value.ToString();
}

// Splits at `sep` outside brackets and quotes.
std::vector<absl::string_view> SplitOutside(absl::string_view s, absl::string_view seps) {
  std::vector<absl::string_view> parts;
  int depth = 0;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i <= s.size(); ++i) {
    if (i == s.size() || (!quoted && depth == 0 && absl::StrContains(seps, s[i]))) {
      parts.push_back(absl::StripAsciiWhitespace(s.substr(begin, i - begin)));
      begin = i + 1;
      continue;
    }
    char c = s[i];
    if (c == '\'' && (i == 0 || s[i - 1] != '\\')) quoted = !quoted;
    if (quoted) continue;
    depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
  }
  return parts;
}

absl::StatusOr<std::string> Unquote(absl::string_view s) {
  std::string raw;
  if (!absl::ConsumePrefix(&s, "'") || !absl::ConsumeSuffix(&s, "'") || !absl::CUnescape(s, &raw)) {
    return InvalidArgument("'", s, "' is no quoted string");
  }
  return raw;
}

template <typename T, typename Parse>
absl::StatusOr<Tensor> Literal(const Shape& shape, const std::vector<absl::string_view>& items, Parse parse) {
  ASSIGN_OR_RETURN(Tensor t, Tensor::Make(kDTypeOf<T>, shape));
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    T v{};
    // As in TensorProto, a short list repeats its last element.
    if (!items.empty() && !parse(items[std::min<size_t>(i, items.size() - 1)], &v)) {
      return InvalidArgument("'", items[std::min<size_t>(i, items.size() - 1)], "' is no ", DTypeName(t.dtype()));
    }
    t.data<T>()[i] = v;
  }
  return t;
}

template <typename T>
bool ParseInt(absl::string_view s, T* v) {
  int64_t i;
  if (!absl::SimpleAtoi(s, &i)) return false;
  *v = static_cast<T>(i);
  return true;
}

// float[2,2]{1,2,3,4}
absl::StatusOr<Tensor> ParseTensor(absl::string_view text) {
  size_t brace = text.find('{'), bracket = text.find('[');
  if (brace == absl::string_view::npos || !absl::EndsWith(text, "}"))
    return InvalidArgument("'", text, "' is no tensor");
  DType dtype = DTypeFromName(text.substr(0, std::min(bracket, brace)));
  Shape shape;
  if (bracket < brace) {
    ASSIGN_OR_RETURN(PartialShape p, PartialShape::Parse(text.substr(bracket, brace - bracket)));
    if (!p.IsFullyKnown()) return InvalidArgument("a tensor needs a full shape, found ", p.ToString());
    shape = p.ToShape();
  }
  absl::string_view inside = text.substr(brace + 1, text.size() - brace - 2);
  std::vector<absl::string_view> items;
  if (!absl::StripAsciiWhitespace(inside).empty()) items = SplitOutside(inside, ",");
  switch (dtype) {
    case DType::kFloat:
      return Literal<float>(shape, items, [](auto s, float* v) { return absl::SimpleAtof(s, v); });
    case DType::kDouble:
      return Literal<double>(shape, items, [](auto s, double* v) { return absl::SimpleAtod(s, v); });
    case DType::kInt32:
      return Literal<int32_t>(shape, items, ParseInt<int32_t>);
    case DType::kInt64:
      return Literal<int64_t>(shape, items, ParseInt<int64_t>);
    case DType::kUint8:
      return Literal<uint8_t>(shape, items, ParseInt<uint8_t>);
    case DType::kInt8:
      return Literal<int8_t>(shape, items, ParseInt<int8_t>);
    case DType::kInt16:
      return Literal<int16_t>(shape, items, ParseInt<int16_t>);
    case DType::kBool:
      return Literal<bool>(shape, items, [](auto s, bool* v) { return absl::SimpleAtob(s, v); });
    case DType::kString:
      return Literal<std::string>(shape, items, [](auto s, std::string* v) {
        absl::StatusOr<std::string> raw = Unquote(s);
        if (raw.ok()) *v = *raw;
        return raw.ok();
      });
    default:
      return InvalidArgument("no literals for type '", text.substr(0, std::min(bracket, brace)), "'");
  }
}

absl::StatusOr<AttrValue> ParseAttr(absl::string_view type, absl::string_view text) {
  if (absl::ConsumePrefix(&type, "list(")) {
    absl::ConsumeSuffix(&type, ")");
    absl::string_view inside = text;
    if (!absl::ConsumePrefix(&inside, "[") || !absl::ConsumeSuffix(&inside, "]"))
      return InvalidArgument("'", text, "' is no list");
    std::vector<absl::string_view> items;
    if (!absl::StripAsciiWhitespace(inside).empty()) items = SplitOutside(inside, ",");
    std::vector<AttrValue> values;
    for (absl::string_view item : items) {
      ASSIGN_OR_RETURN(AttrValue v, ParseAttr(type, item));
      values.push_back(std::move(v));
    }
    auto gather = [&values](auto sample) {
      std::vector<decltype(sample)> all;
      for (const AttrValue& v : values) all.push_back(*v.As<decltype(sample)>());
      return AttrValue(std::move(all));
    };
    if (type == "int") return gather(int64_t{});
    if (type == "float") return gather(float{});
    if (type == "bool") return gather(bool{});
    if (type == "string") return gather(std::string());
    if (type == "type") return gather(DType{});
    if (type == "shape") return gather(PartialShape());
    return InvalidArgument("lists of ", type, " have no text form");
  }
  if (type == "int") {
    int64_t i;
    if (absl::SimpleAtoi(text, &i)) return AttrValue(i);
  } else if (type == "float") {
    float f;
    if (absl::SimpleAtof(text, &f)) return AttrValue(f);
  } else if (type == "bool") {
    bool b;
    if (absl::SimpleAtob(text, &b)) return AttrValue(b);
  } else if (type == "type") {
    DType t = DTypeFromName(text);
    if (t != DType::kInvalid) return AttrValue(t);
  } else if (type == "string") {
    ASSIGN_OR_RETURN(std::string s, Unquote(text));
    return AttrValue(std::move(s));
  } else if (type == "shape") {
    ASSIGN_OR_RETURN(PartialShape s, PartialShape::Parse(text));
    return AttrValue(std::move(s));
  } else if (type == "tensor") {
    ASSIGN_OR_RETURN(Tensor t, ParseTensor(text));
    return AttrValue(std::move(t));
  } else if (type == "func" && absl::ConsumePrefix(&text, "@")) {
    return AttrValue(FuncRef{std::string(text), {}});
  }
  return InvalidArgument("'", text, "' is no ", type);
}

absl::Status ParseLine(absl::string_view line, Graph* graph) {
  size_t equals = line.find('='), open = line.find('(');
  if (equals == absl::string_view::npos || open == absl::string_view::npos || open < equals) {
    return InvalidArgument("a node reads 'name = Op(...)'");
  }
  size_t close = line.rfind(')');
  if (close == absl::string_view::npos || close < open) return InvalidArgument("')' is missing");
  absl::string_view tail = line.substr(close + 1);
  tail = absl::StripAsciiWhitespace(tail.substr(0, tail.find("->")));
  NodeSpec spec;
  spec.name = std::string(absl::StripAsciiWhitespace(line.substr(0, equals)));
  spec.op = std::string(absl::StripAsciiWhitespace(line.substr(equals + 1, open - equals - 1)));
  if (absl::ConsumePrefix(&tail, "@")) spec.device = std::string(absl::StripAsciiWhitespace(tail));
  ASSIGN_OR_RETURN(const OpDef* op, graph->ops().Get(spec.op));
  absl::string_view inside = absl::StripAsciiWhitespace(line.substr(open + 1, close - open - 1));
  if (!inside.empty()) {
    for (absl::string_view item : SplitOutside(inside, ",")) {
      size_t eq = item.find('=');
      if (eq != absl::string_view::npos && item[0] != '\'') {
        absl::string_view name = absl::StripAsciiWhitespace(item.substr(0, eq));
        absl::string_view value = absl::StripAsciiWhitespace(item.substr(eq + 1));
        const AttrDef* def = op->FindAttr(name);
        if (def == nullptr && name != "_class")
          return InvalidArgument("op ", op->name, " has no attribute '", name, "'");
        ASSIGN_OR_RETURN(AttrValue v, ParseAttr(def ? absl::string_view(def->type) : "list(string)", value));
        spec.attrs.Set(name, std::move(v));
        continue;
      }
      ASSIGN_OR_RETURN(ParsedInput in, ParseInputName(item));
      Node* source = graph->Find(in.node);
      if (source == nullptr) return NotFound("input '", in.node, "' is not defined above");
      if (in.control) {
        spec.control_inputs.push_back(source);
      } else {
        spec.inputs.push_back({source, in.index});
      }
    }
  }
  if (op->name == "Const" && spec.attrs.Find("dtype") == nullptr && spec.attrs.Find("value") != nullptr) {
    spec.attrs.Set("dtype", spec.attrs.Find("value")->As<Tensor>()->dtype());
  }
  return graph->AddNode(std::move(spec)).status();
}

}  // namespace

std::string NodeToText(const Node& node, const TextOptions& options) {
  std::vector<std::string> parts;
  for (const Endpoint& e : node.inputs()) {
    parts.push_back(e.index == 0 ? e.node->name() : absl::StrCat(e.node->name(), ":", e.index));
  }
  // What follows from the inputs is not printed.
  std::map<absl::string_view, bool> inferred;
  for (const ArgDef& a : node.op().inputs) {
    for (absl::string_view name :
         {absl::string_view(a.type_attr), absl::string_view(a.number_attr), absl::string_view(a.type_list_attr)}) {
      if (!name.empty()) inferred[name] = true;
    }
  }
  for (const auto& [name, value] : node.attrs()) {
    const AttrDef* def = node.op().FindAttr(name);
    if (def != nullptr && (def->default_value == value || inferred[name])) continue;
    if (def == nullptr && name != "_class") continue;
    if (node.Is(kConstant) && name == "dtype") continue;
    parts.push_back(absl::StrCat(name, "=", AttrText(value, options)));
  }
  for (Node* c : node.control_inputs()) parts.push_back(absl::StrCat("^", c->name()));
  std::string line = absl::StrCat(node.name(), " = ", node.op().name, "(", absl::StrJoin(parts, ", "), ")");
  const std::string& device = node.assigned_device().empty() ? node.info().device : node.assigned_device();
  if (options.devices && !device.empty()) absl::StrAppend(&line, " @", device);
  if (options.shapes) {
    absl::StrAppend(&line, " ->");
    for (int i = 0; i < node.num_outputs(); ++i) absl::StrAppend(&line, " ", node.output_shape(i).ToString());
  }
  return line;
}

std::string GraphToText(const Graph& graph, const TextOptions& options) {
  absl::StatusOr<std::vector<Node*>> order = graph.TopologicalOrder();
  std::string out;
  for (Node* n : order.ok() ? *order : graph.nodes()) absl::StrAppend(&out, NodeToText(*n, options), "\n");
  return out;
}

absl::Status ParseGraphText(absl::string_view text, Graph* graph) {
  for (absl::string_view line : SplitOutside(text, "\n;")) {
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::Status s = ParseLine(line, graph);
    if (!s.ok()) return Annotate(s, absl::StrCat("in '", line, "': "));
  }
  return absl::OkStatus();
}

}  // namespace sluice
