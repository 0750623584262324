"""Messages from .proto files with Debian's protoc; Bazel's own proto rules would want protobuf's sources."""

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
    files = " ".join(["$(location %s)" % src for src in srcs])
    native.genrule(
        name = name + "_generate",
        srcs = [name + "_protos"] + srcs,
        outs = outs + [name + "_descriptors.pb"],
        cmd = "/usr/bin/protoc -I. %s --include_imports --descriptor_set_out=$(RULEDIR)/%s_descriptors.pb %s" % (
            flags,
            name,
            files,
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
        srcs = [out for out in outs if out.endswith(".cc")],
        hdrs = [out for out in outs if out.endswith(".h")],
        copts = ["-w"],
        deps = deps + ["//third_party/debian:grpc++" if grpc else "//third_party/debian:protobuf"],
        visibility = visibility,
        testonly = testonly,
    )

def _sibling(label, suffix):
    """//a/b:c and :c and //a/c become //a/b:c_suffix and so on."""
    if ":" not in label and "/" in label:
        label += ":" + label.split("/")[-1]
    return label + suffix
