"""Messages from .proto files with Debian's protoc; Bazel's own proto rules would want protobuf's sources."""

# Most of the time of compiling a message is that of protobuf's headers, so several files are compiled as one.
_FILES_TOGETHER = 8

# Names that protoc gives to something of each file.
_NAMES_OF_A_FILE = ["schemas", "file_default_instances"]

def sluice_proto_library(name, srcs, deps = [], grpc = False, visibility = None, testonly = False):
    """Generates C++ classes and a descriptor set from .proto files.

    The files name each other from the repository's root (`import "core/proto/graph.proto";`), and C++ includes
    the result the same way (`#include "core/proto/graph.pb.h"`).

    Makes three targets:
      name: cc_library with the .pb.h headers (and the .grpc.pb.h ones with grpc = True);
      name + "_protos": the .proto files, with those of deps;
      name + "_descriptors": the file name_descriptors.pb, a FileDescriptorSet with everything that is imported.

    Args:
      name: the C++ library's name.
      srcs: .proto files of this package.
      deps: other sluice_proto_library targets whose files srcs import.
      grpc: also generate the services' stubs.
      visibility: of the three targets.
      testonly: as everywhere in Bazel.
    """
    protos = [_sibling(dep, "_protos") for dep in deps]
    native.filegroup(
        name = name + "_protos",
        srcs = srcs + protos,
        visibility = visibility,
        testonly = testonly,
    )

    kinds = [".pb.h", ".pb.cc"]
    flags = "--cpp_out=$(BINDIR)"
    if grpc:
        kinds += [".grpc.pb.h", ".grpc.pb.cc"]
        flags += " --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin --grpc_out=$(BINDIR)"
    stems = [src[:-len(".proto")] for src in srcs]
    outs = [stem + kind for stem in stems for kind in kinds]
    sources = [out for out in outs if out.endswith(".cc")]
    together = {
        "%s_%d.pb.cc" % (name, at // _FILES_TOGETHER): sources[at:at + _FILES_TOGETHER]
        for at in range(0, len(sources), _FILES_TOGETHER)
    }
    include = "".join([
        " && printf '%%s\\n' %s > $(RULEDIR)/%s" % (_inclusions(native.package_name(), group), file)
        for file, group in together.items()
    ])
    files = " ".join(["$(location %s)" % src for src in srcs])
    native.genrule(
        name = name + "_generate",
        srcs = [name + "_protos"] + srcs,
        outs = outs + together.keys() + [name + "_descriptors.pb"],
        cmd = "/usr/bin/protoc -I. %s --include_imports --descriptor_set_out=$(RULEDIR)/%s_descriptors.pb %s%s" % (
            flags,
            name,
            files,
            include,
        ),
        message = "Generating messages of",
        visibility = ["//visibility:private"],
        testonly = testonly,
    )
    native.filegroup(
        name = name + "_descriptors",
        srcs = [name + "_descriptors.pb"],
        visibility = visibility,
        testonly = testonly,
    )
    native.cc_library(
        name = name,
        srcs = together.keys(),
        hdrs = [out for out in outs if out.endswith(".h")],
        textual_hdrs = sources,
        copts = ["-w"],
        deps = deps + ["//third_party/debian:grpc++" if grpc else "//third_party/debian:protobuf"],
        visibility = visibility,
        testonly = testonly,
    )

def _inclusions(package, sources):
    """Lines of C++, quoted for the shell, that compile all sources as one file."""
    lines = []
    for i, source in enumerate(sources):
        lines += ["#undef %s\n#define %s %s_%d" % (name, name, name, i) for name in _NAMES_OF_A_FILE]
        lines.append("#include \"%s/%s\"" % (package, source))
    return " ".join(["'%s'" % line for line in lines])

def _sibling(label, suffix):
    """//a/b:c and :c and //a/c become //a/b:c_suffix and so on."""
    if ":" not in label and "/" in label:
        label += ":" + label.split("/")[-1]
    return label + suffix
