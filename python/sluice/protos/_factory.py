"""Makes Python message classes from a FileDescriptorSet, with protobuf 3.20 and every later version."""

import copyreg
import threading

try:
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.internal import enum_type_wrapper
except ImportError as error:
    raise ImportError(
        "message classes need the protobuf package: install python3-protobuf, or `pip install protobuf`"
    ) from error

_FOLDER = "core/proto/"


def _fields(data):
    """(number, bytes) of the fields at the beginning of a message, as long as they are messages, strings or bytes.

    descriptor_pb2 would do it too, but its import takes longer than all else here.
    """
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        if key & 7 != 2:
            return
        size = varint()
        yield key >> 3, data[at : at + size]
        at += size


class MessageFactory:
    """The classes of one descriptor set; graph.proto becomes the module graph_pb2."""

    def __init__(self, path):
        with open(path, "rb") as file:
            files = [found for _, found in _fields(file.read())]  # FileDescriptorSet.file
        self._pool = descriptor_pool.DescriptorPool()
        self._files = {}
        self._lock = threading.Lock()  # modules may be imported by several threads at once
        self._unused = {}  # files that no module wanted yet, by name
        for file in files:
            name = next(value for number, value in _fields(file) if number == 1).decode()  # FileDescriptorProto.name
            self._unused[name] = file
            if name.startswith(_FOLDER):
                self._files[name[len(_FOLDER) : -len(".proto")] + "_pb2"] = name
        if hasattr(message_factory, "GetMessageClass"):  # 4.22 and later
            self._make = message_factory.GetMessageClass
        else:
            self._make = message_factory.MessageFactory(self._pool).GetPrototype

    def _use(self, name):
        """Has the pool know a file, after those that it imports."""
        file = self._unused.pop(name, None)
        if file is None:
            return
        for number, value in _fields(file):
            if number == 3:  # FileDescriptorProto.dependency
                self._use(value.decode())
        self._pool.AddSerializedFile(file)

    def modules(self):
        return sorted(self._files)

    def has(self, module_name):
        return module_name in self._files

    def fill(self, module):
        """Puts the classes, enums and enum values of a file into a module."""
        name = self._files[module.__name__.rpartition(".")[2]]
        with self._lock:
            self._use(name)
        file = self._pool.FindFileByName(name)
        module.DESCRIPTOR = file
        for name, enum in file.enum_types_by_name.items():
            setattr(module, name, enum_type_wrapper.EnumTypeWrapper(enum))
            for value in enum.values:
                setattr(module, value.name, value.number)
        for name, message in file.message_types_by_name.items():
            setattr(module, name, self._message_class(message, module.__name__, name))

    def _message_class(self, descriptor, module_name, qualified_name):
        cls = self._make(descriptor)
        cls.__module__ = module_name  # lets pickle and repr find the class
        cls.__qualname__ = qualified_name
        copyreg.pickle(cls, _reduce)  # protobuf's own way looks in the default pool
        for nested in descriptor.nested_types:
            nested_class = self._message_class(nested, module_name, qualified_name + "." + nested.name)
            if not hasattr(cls, nested.name):
                setattr(cls, nested.name, nested_class)
        for name, enum in descriptor.enum_types_by_name.items():
            if not hasattr(cls, name):
                setattr(cls, name, enum_type_wrapper.EnumTypeWrapper(enum))
        return cls


def _reduce(message):
    return _parse, (type(message), message.SerializeToString())


def _parse(cls, data):
    return cls.FromString(data)
