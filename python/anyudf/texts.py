"""Types as texts: those that pyarrow writes, and some that are shorter.

>>> read("dictionary<values=string, indices=int32, ordered=0>")
DictionaryType(dictionary<values=string, indices=int32, ordered=0>)
>>> read("map<string, list_view<int64 not null>>")
MapType(map<string, list_view<item: int64 not null>>)
"""

from collections.abc import Callable

import pyarrow as pa

__all__ = ["read"]


def read(text: str) -> pa.DataType:
    """The type that a text names.

    Raises:
        TypeError: it names none, or one that this pyarrow does not have.
    """
    return _Text(text).whole()


_ALIASES = {
    "str": "string",
    "boolean": "bool",
    "time32": "time32[ms]",
    "time64": "time64[us]",
    "timestamp": "timestamp[us]",
}


class _NoType(TypeError):
    """A text is not understood."""


class _Text:
    """A text, read from its beginning to its end."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def whole(self) -> pa.DataType:
        try:
            found = self.type()
        except _NoType:
            raise
        except (TypeError, ValueError, NotImplementedError) as error:
            # What it is made of is understood, and pyarrow makes nothing of it.
            raise TypeError(f"`{self.text}` is no type: {error}") from None
        if self.rest().strip():
            raise self.wrong()
        return found

    def type(self) -> pa.DataType:
        start = self.at
        name = self.word()
        if name in _NESTED:
            self.expect("<")
            return _NESTED[name](self)
        if name in _DECIMALS and self.skip("("):
            precision = self.number()
            scale = self.number() if self.skip(",") else 0
            self.expect(")")
            return self.known(_DECIMALS[name])(precision, scale)
        if name in ("binary", "fixed_size_binary") and self.skip("["):
            width = self.number()
            self.expect("]")
            return pa.binary(width)
        if name in ("timestamp", "duration", "time32", "time64") and self.skip("["):
            return self.time(name)
        if name in _DATES and self.skip("["):
            self.expect(_DATES[name])
            self.expect("]")
        try:
            return pa.type_for_alias(_ALIASES.get(name, name))
        except ValueError:
            self.at = start
            raise self.wrong() from None

    def time(self, name: str) -> pa.DataType:
        unit = self.word()
        if name != "timestamp":
            self.expect("]")
            return self.known(name)(unit)
        zone = None
        if self.skip(","):
            self.expect("tz=")
            end = self.text.find("]", self.at)
            if end < 0:
                raise self.wrong()
            zone, self.at = self.text[self.at : end].strip(), end
        self.expect("]")
        return pa.timestamp(unit, zone)

    # ---- types of others, from what stands behind `<` on

    def list(self, make: Callable[[pa.Field], pa.DataType]) -> pa.DataType:
        item = self.item("item")
        self.expect(">")
        return make(item)

    def fixed_size_list(self) -> pa.DataType:
        item = self.item("item")
        self.expect(">")
        self.expect("[")
        size = self.number()
        self.expect("]")
        return pa.list_(item, size)

    def map(self) -> pa.DataType:
        key = self.item("key").with_nullable(False)
        self.expect(",")
        value = self.item("value")
        is_sorted = self.skip(",")
        if is_sorted:
            self.expect("keys_sorted")
        self.expect(">")
        return pa.map_(key, value, keys_sorted=is_sorted)

    def dictionary(self) -> pa.DataType:
        """`dictionary<values=string, indices=int32, ordered=0>`, or as `pyarrow.dictionary` has it, the indices first."""
        if not self.skip("values="):
            indices = self.type()
            self.expect(",")
            values = self.type()
            self.expect(">")
            return pa.dictionary(indices, values)
        values = self.type()
        self.expect(",")
        self.expect("indices=")
        indices = self.type()
        is_ordered = False
        if self.skip(","):
            self.expect("ordered=")
            is_ordered = self.number() != 0
        self.expect(">")
        return pa.dictionary(indices, values, ordered=is_ordered)

    def run_end_encoded(self) -> pa.DataType:
        ends = self.item("run_ends")
        self.expect(",")
        values = self.item("values")
        self.expect(">")
        return pa.run_end_encoded(ends.type, values.type)

    def struct(self) -> pa.DataType:
        fields: list[pa.Field] = []
        while not self.skip(">"):
            if fields:
                self.expect(",")
            # pyarrow quotes no names, so one may have anything in it but what ends it, or ends another.
            end = self.text.find(":", self.at)
            name = self.text[self.at : end].strip()
            if end < 0 or any(letter in name for letter in ",<>"):
                raise self.wrong()
            self.at = end + 1
            fields.append(self.field(name))
        return pa.struct(fields)

    def item(self, name: str) -> pa.Field:
        """An item, which may have a name, before it as `list<item: int64>` or behind it as `map<string ('key'), int64>`."""
        start = self.at
        before = self.word()
        if self.skip(":"):
            return self.field(before)
        self.at = start
        field = self.field(name)
        if self.skip("('"):
            end = self.text.find("')", self.at)
            if end < 0:
                raise self.wrong()
            field, self.at = field.with_name(self.text[self.at : end]), end + 2
        return field

    def field(self, name: str) -> pa.Field:
        kind = self.type()
        return pa.field(name, kind, nullable=not self.skip("not null"))

    # ---- words

    def rest(self) -> str:
        return self.text[self.at :]

    def wrong(self) -> _NoType:
        return _NoType(f"`{self.text}` is no type: {self.rest().strip() or 'its end'!r} is not understood there")

    def known(self, name: str) -> Callable[..., pa.DataType]:
        make: Callable[..., pa.DataType] | None = getattr(pa, name, None)
        if make is None:
            raise _NoType(f"`{self.text}` is no type: pyarrow {pa.__version__} has no {name}")
        return make

    def skip(self, token: str) -> bool:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        found = self.text.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found

    def expect(self, token: str) -> None:
        if not self.skip(token):
            raise self.wrong()

    def word(self) -> str:
        self.skip("")
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "_-+/"):
            self.at += 1
        return self.text[start : self.at]

    def number(self) -> int:
        word = self.word()
        try:
            return int(word)
        except ValueError:
            self.at -= len(word)
            raise self.wrong() from None


_DECIMALS = {name: name for name in ("decimal32", "decimal64", "decimal128", "decimal256")} | {"decimal": "decimal128"}

_DATES = {"date32": "day", "date64": "ms"}

_NESTED: dict[str, Callable[[_Text], pa.DataType]] = {
    "list": lambda text: text.list(pa.list_),
    "large_list": lambda text: text.list(pa.large_list),
    "list_view": lambda text: text.list(pa.list_view),
    "large_list_view": lambda text: text.list(pa.large_list_view),
    "fixed_size_list": _Text.fixed_size_list,
    "map": _Text.map,
    "dictionary": _Text.dictionary,
    "run_end_encoded": _Text.run_end_encoded,
    "struct": _Text.struct,
}
