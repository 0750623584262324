"""Command-line flags: DEFINE_integer("steps", 100, "how many") and FLAGS.steps."""
import sys


class Error(Exception):
    """A wrong definition or use of flags."""


class IllegalFlagValueError(Error):
    """A value that a flag does not take."""


class UnrecognizedFlagError(Error):
    """A flag that was never defined."""


class DuplicateFlagError(Error):
    """A flag defined twice."""


class _Flag:
    def __init__(self, name, default, help, parse, short_name=None, is_bool=False, multi=False):
        self.name, self.help, self.parse, self.is_bool, self.multi = name, help, parse, is_bool, multi
        self.short_name = short_name
        self.default = default
        self.value = list(default) if multi and default is not None else default
        self.present = 0

    def set(self, text):
        try:
            value = self.parse(text)
        except ValueError as e:
            raise IllegalFlagValueError("flag --%s=%s: %s" % (self.name, text, e)) from None
        if self.multi:
            self.value = (self.value if self.present else []) + [value]
        else:
            self.value = value
        self.present += 1


class FlagValues:
    """All flags of the program; read a value as an attribute. Reading one parses sys.argv when that was not done."""

    def __init__(self):
        self.__dict__.update(_flags={}, _parsed=False, _required=set(), _validators=[])

    def _define(self, flag):
        for name in filter(None, (flag.name, flag.short_name)):
            have = self._flags.get(name)
            if have is not None and have.help != flag.help:
                raise DuplicateFlagError("The flag '%s' is defined twice: first with the help %r, then with %r"
                                         % (name, have.help, flag.help))
            self._flags[name] = flag

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._flags:
            raise AttributeError("no flag is named %r" % name)
        if not self._parsed:
            self(sys.argv, known_only=True)
        return self._flags[name].value

    def __setattr__(self, name, value):
        if name not in self._flags:
            raise AttributeError("no flag is named %r" % name)
        self._flags[name].value = value
        self._flags[name].present += 1

    def __getitem__(self, name):
        return self._flags[name]

    def __contains__(self, name):
        return name in self._flags

    def __iter__(self):
        return iter(sorted(self._flags))

    def __len__(self):
        return len(self._flags)

    def __dir__(self):
        return sorted(self._flags)

    def is_parsed(self):
        """Whether the command line was read."""
        return self._parsed

    def mark_as_parsed(self):
        """Makes flags readable with their defaults, without reading the command line."""
        self.__dict__["_parsed"] = True

    def unparse_flags(self):
        """The opposite of mark_as_parsed."""
        self.__dict__["_parsed"] = False

    def flag_values_dict(self):
        """{name: value}."""
        return {n: f.value for n, f in self._flags.items() if n == f.name}

    def __call__(self, argv, known_only=False):
        """Reads flags from `argv` (whose first item is the program) and returns what is left."""
        self.__dict__["_parsed"] = True
        left, at = list(argv[:1]), 1
        while at < len(argv):
            arg = argv[at]
            at += 1
            if arg == "--":
                left += argv[at:]
                break
            if not arg.startswith("-") or arg == "-":
                left.append(arg)
                continue
            name, equals, text = arg.lstrip("-").partition("=")
            name = name.replace("-", "_")
            flag = self._flags.get(name)
            if flag is None and name.startswith("no") and name[2:] in self._flags and self._flags[name[2:]].is_bool \
                    and not equals:
                self._flags[name[2:]].set("false")
                continue
            if flag is None:
                if known_only:
                    left.append(arg)
                    continue
                raise UnrecognizedFlagError("Unknown command line flag '%s'. --help shows the flags." % name)
            if not equals:
                if flag.is_bool:
                    text = "true"
                elif at < len(argv):
                    text = argv[at]
                    at += 1
                else:
                    raise IllegalFlagValueError("flag --%s needs a value" % name)
            flag.set(text)
        if not known_only:
            self._check()
        return left

    def _check(self):
        for name in sorted(self._required):
            if self._flags[name].value is None:
                raise IllegalFlagValueError("flag --%s=None: Flag --%s must have a value other than None."
                                            % (name, name))
        for name, accepts, message in self._validators:
            if not accepts(self._flags[name].value):
                raise IllegalFlagValueError("flag --%s=%s: %s" % (name, self._flags[name].value, message))

    def get_help(self):
        """The help text of all flags."""
        lines = []
        for name, flag in sorted(self._flags.items()):
            if name != flag.name:
                continue
            lines.append("  --%s%s: %s" % ("[no]" if flag.is_bool else "", name, flag.help or ""))
            if flag.default is not None:
                lines.append("    (default: %r)" % (flag.default,))
        return "\n".join(lines)

    main_module_help = get_help


FLAGS = FlagValues()


def _bool(text):
    if str(text).lower() in ("true", "t", "1", "yes", "y"):
        return True
    if str(text).lower() in ("false", "f", "0", "no", "n"):
        return False
    raise ValueError("Non-boolean argument to boolean flag: %s" % text)


def _within(parse, lower, upper):
    def checked(text):
        value = parse(text)
        if lower is not None and value < lower or upper is not None and value > upper:
            raise ValueError("%s is not in [%s, %s]" % (text, lower, upper))
        return value
    return checked


def _define(name, default, help, parse, flag_values, short_name=None, **kwargs):
    if isinstance(default, str) and parse is not str and not kwargs.get("multi"):
        default = parse(default)
    (FLAGS if flag_values is None else flag_values)._define(_Flag(name, default, help, parse, short_name, **kwargs))


def DEFINE_string(name, default, help, flag_values=None, short_name=None, **unused):
    """A flag of text."""
    _define(name, default, help, str, flag_values, short_name)


def DEFINE_integer(name, default, help, lower_bound=None, upper_bound=None, flag_values=None, short_name=None,
                   **unused):
    """A flag of a whole number, also in hexadecimal."""
    _define(name, default, help, _within(lambda t: int(t, 0), lower_bound, upper_bound), flag_values, short_name)


def DEFINE_float(name, default, help, lower_bound=None, upper_bound=None, flag_values=None, short_name=None, **unused):
    """A flag of a number."""
    _define(name, default if default is None or isinstance(default, str) else float(default), help,
            _within(float, lower_bound, upper_bound), flag_values, short_name)


def DEFINE_bool(name, default, help, flag_values=None, short_name=None, **unused):
    """A flag that is on (--name) or off (--noname)."""
    _define(name, default if default is None else _bool(default), help, _bool, flag_values, short_name, is_bool=True)


DEFINE_boolean = DEFINE_bool


def DEFINE_enum(name, default, enum_values, help, flag_values=None, short_name=None, case_sensitive=True, **unused):
    """A flag that takes one of a few words."""
    def parse(text):
        for value in enum_values:
            if text == value or not case_sensitive and text.lower() == value.lower():
                return value
        raise ValueError("value should be one of <%s>" % "|".join(enum_values))
    _define(name, default, "<%s>: %s" % ("|".join(enum_values), help), parse, flag_values, short_name)


def DEFINE_list(name, default, help, flag_values=None, short_name=None, **unused):
    """A flag of words separated by commas."""
    parse = lambda text: [t.strip() for t in text.split(",")] if text else []
    _define(name, default, help, parse, flag_values, short_name)


def DEFINE_multi_string(name, default, help, flag_values=None, short_name=None, **unused):
    """A flag of text that may be given several times."""
    _define(name, [default] if isinstance(default, str) else default, help, str, flag_values, short_name, multi=True)


def DEFINE_multi_integer(name, default, help, flag_values=None, short_name=None, **unused):
    """A flag of a whole number that may be given several times."""
    _define(name, [default] if isinstance(default, int) else default, help, lambda t: int(t, 0), flag_values,
            short_name, multi=True)


def mark_flag_as_required(flag_name, flag_values=None):
    """The program does not start without a value of this flag."""
    (FLAGS if flag_values is None else flag_values)._required.add(flag_name)


def mark_flags_as_required(flag_names, flag_values=None):
    """mark_flag_as_required for several flags."""
    for name in flag_names:
        mark_flag_as_required(name, flag_values)


def register_validator(flag_name, checker, message="Flag validation failed", flag_values=None):
    """`checker(value)` must hold for the program to start."""
    (FLAGS if flag_values is None else flag_values)._validators.append((flag_name, checker, message))
