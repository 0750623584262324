"""Ops on strings, against Python's own `bytes`, `str`, `re`, `base64` and `%`."""

import base64
import itertools
import re

import numpy as np
import pytest

import sluice as sl
from harness import COMPLEX, F32, F64, INTS, cases, check, op_case, rand, take_rows

I32, I64 = np.int32, np.int64


def strings(values, shape=None):
    """An array of byte strings (which NumPy's own type would cut at zeros)."""
    values = [v.encode() if isinstance(v, str) else v for v in values]
    out = np.empty(len(values), object)
    out[:] = values
    return out if shape is None else out.reshape(shape)


def scalar(value):
    return strings([value], ())


def each(function, dtype=object):
    """An oracle that applies `function` to each element of its first argument; the others and attributes go along."""

    def oracle(x, *rest, **attrs):
        out = np.empty(np.shape(x), dtype)
        for at in np.ndindex(np.shape(x)):
            out[at] = function(x[at], *rest, **attrs)
        return out

    return oracle


TEXTS = strings(["Hello, World", "", " \t two words\n", "MiXeD 123", "a\0b", "\xe4\xd6\u0416\u03a9 x"], (2, 3))
# Nothing, one, a scalar, a matrix.
SHAPED = [(TEXTS,), (strings([], (0,)),), (strings([], (2, 0)),), (scalar("  One "),), (strings(["x"]),)]


def string_case(op, oracle=None, **kwargs):
    """A row of an op whose types are its own."""
    op_case(op, oracle, types=[F32], **kwargs)


# ---- one string to one value

SPACE = b" \t\n\v\f\r"
string_case("StringStrip", each(lambda s: s.strip(SPACE)), inputs=SHAPED)
for op, method in (("StringLower", "lower"), ("StringUpper", "upper")):
    string_case(op, each(lambda s, m=method: getattr(s, m)()), inputs=SHAPED)
    string_case(op, each(lambda s, encoding, m=method: getattr(s.decode(), m)().encode()), inputs=SHAPED, attrs=[dict(encoding="utf-8")])
    string_case(op, inputs=[(TEXTS,)], attrs=[dict(encoding="latin-1")], error="latin-1")
string_case("StringLength", each(len, I32), inputs=SHAPED)
string_case("StringLength", each(lambda s, unit: len(s.decode()), I32), inputs=SHAPED, attrs=[dict(unit="UTF8_CHAR")])
string_case("StringLength", inputs=[(TEXTS,)], attrs=[dict(unit="WORD")], error="WORD")

BYTES = strings([bytes(range(n)) for n in range(7)] + [b"\xff\xfe\xfb" * 40])
string_case("EncodeBase64", each(lambda s, pad=False: base64.urlsafe_b64encode(s) if pad else base64.urlsafe_b64encode(s).rstrip(b"=")),
            inputs=[(BYTES,), (strings([]),), (BYTES[:4].reshape(2, 2),)], attrs=[{}, dict(pad=True)])
string_case("DecodeBase64", each(lambda s: base64.urlsafe_b64decode(s + b"=" * (-len(s) % 4))),
            inputs=[(each(base64.urlsafe_b64encode)(BYTES),), (each(lambda s: base64.urlsafe_b64encode(s).rstrip(b"="))(BYTES),), (strings([]),)])
string_case("DecodeBase64", inputs=[(strings(["aGk", "?"]),)], error="base64")
string_case("DecodeBase64", inputs=[(strings(["a"]),)], error="base64")


def substr(s, pos, length, unit="BYTE"):
    s, pos, length = np.broadcast_arrays(s, pos, length)
    out = np.empty(s.shape, object)
    for at in np.ndindex(s.shape):
        text = s[at].decode() if unit == "UTF8_CHAR" else s[at]
        start = int(pos[at]) + (len(text) if pos[at] < 0 else 0)
        part = text[start:start + int(length[at])]
        out[at] = part.encode() if unit == "UTF8_CHAR" else part
    return out


WORDS = strings(["hello", "w\xf6rld", "\u4e16\u754c!?."], (3,))
for dtype in (I32, I64):
    string_case("Substr", substr, attrs=[{}, dict(unit="UTF8_CHAR")], name=f"Substr-{np.dtype(dtype).name}",
                inputs=[(WORDS, dtype(1), dtype(3)), (WORDS, dtype(-2), dtype(2)), (WORDS, dtype(0), dtype(0)), (WORDS, dtype(2), dtype(99)),
                        (WORDS, dtype([0, 1, -3]), dtype([1, 2, 3])), (WORDS.reshape(3, 1), dtype([0, 1]), dtype([2, 1])),
                        (scalar("hello"), dtype([[0, 1, 5]]), dtype([[5, 1, 1]])), (strings([]), dtype(0), dtype(1)),
                        (strings([], (0, 1)), dtype([0, 0]), dtype([1, 1]))])
string_case("Substr", inputs=[(WORDS, I32(6), I32(1)), (WORDS, I32(-6), I32(1))], error="out of range for string 'hello' at index 0")
string_case("Substr", inputs=[(WORDS, I32([1, 2]), I32([1, 2]))], error="broadcast")
string_case("Substr", inputs=[(WORDS, I32([1, 2, 3]), I32([1]))], error="[3]")

# ---- regular expressions

MAILS = strings(["ann@x.org", "bob", "", "a.b@c.d e@f", "@@"], (5,))
for pattern, rewrite in (("@", " at "), (r"(\w+)@(\w+)", r"\2 has \1"), ("[aeiou]", ""), ("^", ">"), (r"(.)", r"\0\0")):
    python_rewrite = rewrite.replace("\\0", "\\g<0>").encode()
    for replace_global in (True, False):
        def replaced(s, p=pattern, r=python_rewrite, g=replace_global):
            return re.sub(p.encode(), r, s, count=0 if g else 1)

        string_case("RegexReplace", lambda s, p, r, f=replaced, **_: each(f)(s), attrs=[dict(replace_global=replace_global)],
                    inputs=[(MAILS, scalar(pattern), scalar(rewrite)), (scalar("a@b@c"), scalar(pattern), scalar(rewrite)),
                            (strings([], (2, 0)), scalar(pattern), scalar(rewrite))], name=f"RegexReplace-{pattern}-{replace_global}")
        string_case("StaticRegexReplace", lambda s, f=replaced, **_: each(f)(s), inputs=[(MAILS,), (strings([]),)],
                    attrs=[dict(pattern=pattern, rewrite=rewrite, replace_global=replace_global)],
                    name=f"StaticRegexReplace-{pattern}-{replace_global}")
for pattern in (r"\w+@\w+\.\w+", "", "b.b", "[^@]*", "(a|b).*"):
    string_case("RegexFullMatch", lambda s, p: each(lambda v: re.fullmatch(p[()], v) is not None, bool)(s),
                inputs=[(MAILS, scalar(pattern)), (scalar("bob"), scalar(pattern)), (strings([]), scalar(pattern))], name=f"RegexFullMatch-{pattern}")
    string_case("StaticRegexFullMatch", each(lambda s, pattern: re.fullmatch(pattern.encode(), s) is not None, bool),
                inputs=[(MAILS,), (scalar("ab"),), (strings([]),)], attrs=[dict(pattern=pattern)], name=f"StaticRegexFullMatch-{pattern}")
string_case("RegexReplace", inputs=[(MAILS, scalar("("), scalar(""))], error="Invalid pattern: (")
string_case("RegexReplace", inputs=[(MAILS, scalar("a"), scalar("\\1"))], error="Invalid rewrite: \\1")
string_case("RegexReplace", inputs=[(MAILS, MAILS, scalar(""))], error="[5]")
string_case("RegexFullMatch", inputs=[(MAILS, scalar("*"))], error="Invalid pattern: *")
string_case("StaticRegexReplace", inputs=[(MAILS,)], attrs=[dict(pattern="(", rewrite="")], error="Invalid pattern: (")
string_case("StaticRegexFullMatch", inputs=[(MAILS,)], attrs=[dict(pattern="[")], error="Invalid pattern: [")

# ---- joins and splits


def join(xs, separator=""):
    out = np.empty(np.broadcast_shapes(*[x.shape for x in xs]), object)
    for at in np.ndindex(out.shape):
        out[at] = separator.encode().join(x[at] if x.shape else x[()] for x in xs)
    return out


string_case("StringJoin", join, attrs=[{}, dict(separator=", ")],
            inputs=[([TEXTS, TEXTS],), ([scalar("<"), TEXTS, scalar(">")],), ([scalar("a"), scalar("b")],), ([TEXTS],), ([strings([]), scalar("x")],)])
string_case("StringJoin", inputs=[([strings(["a"]), strings(["b", "c"])],)], error="[2]")


def reduce_join(x, axes, keep_dims=False, separator=""):
    axes = [int(a) % x.ndim for a in np.reshape(axes, -1)]
    kept = [d for d in range(x.ndim) if d not in axes]
    # The first axis given varies fastest.
    rows = x.transpose(kept + axes[::-1]).reshape([x.shape[d] for d in kept] + [-1])
    out = np.empty(rows.shape[:-1], object)
    for at in np.ndindex(out.shape):
        out[at] = separator.encode().join(rows[at])
    return out.reshape([1 if d in axes else x.shape[d] for d in range(x.ndim)]) if keep_dims else out


CUBE = strings([f"{i}" for i in range(24)], (2, 3, 4))
string_case("ReduceJoin", reduce_join, attrs=[{}, dict(separator="-"), dict(keep_dims=True)],
            inputs=[(CUBE, I32([0])), (CUBE, I32(1)), (CUBE, I32([-1, 0])), (CUBE, I32([0, 1, 2])), (CUBE, I32([2, 1, 0]))])
string_case("ReduceJoin", lambda x, axes: x, inputs=[(CUBE, I32([]))])
string_case("ReduceJoin", lambda x, axes: strings(["", ""]), inputs=[(strings([], (2, 0)), I32([1]))])
string_case("ReduceJoin", inputs=[(CUBE, I32([3]))], error="is not in [-3, 3)")
string_case("ReduceJoin", inputs=[(CUBE, I32([0, -3]))], error="is given twice")


def sparse(rows):
    """Indices, values and shape of a list of rows."""
    at = [[i, j] for i, row in enumerate(rows) for j in range(len(row))]
    return [np.array(at, I64).reshape(-1, 2), strings([v for row in rows for v in row]),
            np.array([len(rows), max([len(row) for row in rows], default=0)], I64)]


LINES = strings(["a b,c", "", " x  y ", "<>one<>two", "three", ",,"])
string_case("StringSplit", lambda x, d, skip_empty=True: sparse([[p for p in re.split(b"[" + re.escape(d[()]) + b"]", s) if p or s and not skip_empty] for s in x]),
            inputs=[(LINES, scalar(" ")), (LINES, scalar(" ,")), (LINES, scalar("<>")), (strings([]), scalar(" "))], attrs=[{}, dict(skip_empty=False)])
string_case("StringSplit", lambda x, d: sparse([[s[i:i + 1] for i in range(len(s))] for s in x]), inputs=[(LINES, scalar(""))], name="StringSplit-bytes")
string_case("StringSplitV2", lambda x, d, maxsplit=-1: sparse([s.split(d[()], maxsplit) if d[()] else s.split(None, maxsplit) for s in x]),
            inputs=[(LINES, scalar("")), (LINES, scalar("<>")), (LINES, scalar(",")), (strings([]), scalar(" ")), (strings(["", ""]), scalar(""))])
string_case("StringSplitV2", lambda x, d, maxsplit: sparse([s.split(d[()], maxsplit) for s in x]), inputs=[(LINES, scalar(",")), (LINES, scalar(" "))],
            attrs=[dict(maxsplit=1), dict(maxsplit=2)])
for op in ("StringSplit", "StringSplitV2"):
    string_case(op, inputs=[(TEXTS, scalar(" "))], error="[2,3]")
    string_case(op, inputs=[(LINES, LINES)], error="[6]")

# ---- numbers


def text_of(conversion, width=-1, precision=-1, fill=""):
    form = "%" + fill + (str(width) if width >= 0 else "") + (f".{precision}" if precision >= 0 else "") + conversion
    return lambda v: form % v


FLOAT_FORMS = [{}, dict(precision=2), dict(precision=0), dict(scientific=True), dict(scientific=True, precision=3), dict(shortest=True),
               dict(width=12), dict(width=12, fill="0"), dict(width=12, fill="-"), dict(fill="+"), dict(fill=" "), dict(precision=1, width=9, fill="+")]


def float_text(v, scientific=False, shortest=False, **kwargs):
    return text_of("g" if shortest else "e" if scientific else "f", **kwargs)(v).encode()


op_case("AsString", each(float_text), inputs=[(np.array([[0.0, 1.5, -2.25], [1e10, -1e-7, 123456.789]]),), (rand(0),), (rand(),)], attrs=FLOAT_FORMS)
op_case("AsString", each(float_text), inputs=[(np.array([np.inf, -np.inf]),)], attrs=[{}, dict(width=12, fill="-"), dict(shortest=True)], name="AsString-inf")
op_case("AsString", each(lambda v: b"-nan" if np.signbit(v) else b"nan"), inputs=[(np.array([np.nan]),)], name="AsString-nan")
op_case("AsString", each(lambda v, **f: b"(" + float_text(v.real, **f) + b"," + float_text(v.imag, **f) + b")"),
        inputs=[(rand(2, 3) + 1j * rand(2, 3, key=1),)], types=COMPLEX, attrs=FLOAT_FORMS[:6], name="AsString-complex")
op_case("AsString", each(lambda v, **f: text_of("d", **f)(int(v)).encode()), inputs=[(np.array([0.0, 7.0, -100.0, 120.0]),), (rand(0, 2),), (rand(),)], types=INTS,
        attrs=[{}, dict(width=6), dict(width=6, fill="0"), dict(width=6, fill="-")], name="AsString-int")
op_case("AsString", each(lambda v: b"true" if v else b"false"), inputs=[(np.array([1.0, -1.0]),)], types=[np.bool_], name="AsString-bool")
op_case("AsString", inputs=[(rand(2),)], attrs=[dict(fill="x"), dict(fill="00")], error="fill")
op_case("AsString", inputs=[(rand(2),)], attrs=[dict(scientific=True, shortest=True)], error="exclude each other")
op_case("AsString", inputs=[(rand(2),)], types=[I32], attrs=[dict(precision=2), dict(scientific=True)], error="int32")

for dtype, texts in ((F32, ["1", "-2.5e3", " 7 ", "1e-40", "inf", "-0", "+3"]), (F64, ["3.14159265358979", "-1e300", "\t5\n", ".5"]),
                     (I32, ["0", "-2147483648", "2147483647", " 42 ", "+7"]), (I64, ["9223372036854775807", "-9223372036854775808", "007"])):
    number = float if np.dtype(dtype).kind == "f" else int
    string_case("StringToNumber", each(lambda s, out_type, n=number: n(s), dtype), attrs=[dict(out_type=sl.as_dtype(dtype))],
                inputs=[(strings(texts),), (strings([], (0, 3)),), (scalar(texts[0]),)], name=f"StringToNumber-{np.dtype(dtype).name}")
    string_case("StringToNumber", inputs=[(strings(["1", bad]),) for bad in ("", "x", "1 2", "1,5", "0x10" if number is int else "1e")],
                attrs=[dict(out_type=sl.as_dtype(dtype))], error="could not correctly convert string", name=f"StringToNumber-{np.dtype(dtype).name}-bad")
string_case("StringToNumber", lambda s: F32([np.nan]), inputs=[(strings(["nan"]),)])
string_case("StringToNumber", inputs=[(strings(["2147483648"]),), (strings(["1.0"]),)], attrs=[dict(out_type=sl.int32)], error="could not correctly convert")

# FarmHash's Fingerprint64 modulo 1000000007, as TensorFlow 2.21 gives it.
HASHED = "".join(chr(33 + i * 7 % 90) for i in range(300))
BUCKETS = {0: 912170738, 1: 136637868, 3: 827000255, 4: 537208524, 7: 229047533, 8: 180074525, 12: 664385082, 16: 201013893, 17: 62620025, 32: 109200061,
           33: 630060310, 64: 167157249, 65: 779946439, 127: 830585244, 128: 185789724, 129: 955917338, 192: 600953567, 300: 305968385}
string_case("StringToHashBucketFast", each(lambda s, num_buckets: BUCKETS[len(s)] if num_buckets > 1 else 0, I64),
            inputs=[(strings([HASHED[:n] for n in BUCKETS]),), (strings([], (3, 0)),), (scalar(""),)], attrs=[dict(num_buckets=1000000007), dict(num_buckets=1)])
string_case("StringToHashBucketFast", inputs=[(TEXTS,)], attrs=[dict(num_buckets=0)], error="num_buckets")

# ---- StringFormat


def shown(x, ends):
    """A tensor as StringFormat shows it: at most `ends` elements at either end of a dimension."""
    def part(x, depth, rank):
        if depth == rank:
            return str(x)
        keep = list(x) if ends < 0 or len(x) <= 2 * ends else list(x[:ends]) + [...] + list(x[len(x) - ends:])
        gap = " " if depth == rank - 1 else "\n" * (rank - depth - 1) + " " * (depth + 1)
        return "[" + gap.join("..." if v is ... else part(v, depth + 1, rank) for v in keep) + "]"

    return "[]" if x.size == 0 else part(x, 0, x.ndim)


def formatted(xs, template="%s", placeholder="%s", summarize=3):
    pieces = template.split(placeholder)
    return scalar("".join(a + b for a, b in itertools.zip_longest(pieces, [shown(x, summarize) for x in xs], fillvalue="")))


ARANGES = [np.arange(n, dtype=I32) for n in (1, 6, 7, 20)] + [np.arange(24).reshape(2, 3, 4), np.arange(40).reshape(10, 4), np.zeros((0, 3), I32), I32(5)]
string_case("StringFormat", formatted, inputs=[([x],) for x in ARANGES], attrs=[{}, dict(summarize=-1), dict(summarize=1), dict(template="x = %s!")])
string_case("StringFormat", formatted, inputs=[([I32(1), I32([2, 3])],)], attrs=[dict(template="a {} b {}", placeholder="{}"), dict(template="%s%s")])
string_case("StringFormat", lambda xs, template: scalar(template), inputs=[([],)], attrs=[dict(template="plain")], name="StringFormat-plain")
string_case("StringFormat", lambda xs: scalar('["a" "b\\"c"]'), inputs=[([strings(["a", 'b"c'])],)], name="StringFormat-strings")
string_case("StringFormat", lambda xs: scalar("[1.5 -0.1 nan inf 1e-07]"), inputs=[([F32([1.5, -0.1, np.nan, np.inf, 1e-7])],)], name="StringFormat-floats")
string_case("StringFormat", inputs=[([I32(1)],)], attrs=[dict(template="none"), dict(template="%s %s")], error="placeholders")


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)
