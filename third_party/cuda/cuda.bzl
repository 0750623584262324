"""Rules for CUDA code. Its targets exist everywhere and are built only with --config=cuda."""

load("@local_cuda//:cuda.bzl", "NVCC")

# For `target_compatible_with`: a target with CUDA code, or that links some, is skipped elsewhere.
CUDA_ONLY = select({
    "//third_party/cuda:enabled": [],
    "//conditions:default": ["//third_party/cuda:no_cuda_here"],
})

# Machine code for the architectures that we test on, and PTX from which a driver makes code for others.
_ARCHITECTURES = [
    "-gencode=arch=compute_90a,code=sm_90a",
    "-gencode=arch=compute_80,code=[sm_80,compute_80]",
]

_FLAGS = [
    "-std=c++17",
    "-O3",
    "--expt-relaxed-constexpr",
    "--extended-lambda",
    "-Xcompiler=-fPIC,-Wall,-Wextra,-Wno-unused-parameter,-Wno-sign-compare",
]

def _objects_impl(ctx):
    if not NVCC:
        fail("%s is CUDA code, and there is no nvcc in $CUDA_HOME, /usr/local/cuda or /usr/lib/nvidia-cuda-toolkit" % ctx.label)
    contexts = [dep[CcInfo].compilation_context for dep in ctx.attr.deps]
    headers = depset(ctx.files.hdrs, transitive = [c.headers for c in contexts])
    include = []
    for c in contexts:
        include += ["-I" + path for path in c.quote_includes.to_list() + c.includes.to_list()]
        include += ["-isystem=" + path for path in c.system_includes.to_list()]
    objects = []
    for source in ctx.files.srcs:
        object = ctx.actions.declare_file(ctx.label.name + "/" + source.basename + ".pic.o")
        ctx.actions.run(
            executable = NVCC,
            arguments = _FLAGS + _ARCHITECTURES + ctx.attr.copts + ["-I.", "-I" + ctx.bin_dir.path] + include +
                        ["-x", "cu", "-c", source.path, "-o", object.path],
            inputs = depset([source], transitive = [headers]),
            outputs = [object],
            mnemonic = "CudaCompile",
            progress_message = "Compiling %s for GPUs" % source.short_path,
            use_default_shell_env = True,
        )
        objects.append(object)
    return [DefaultInfo(files = depset(objects))]

_objects = rule(
    implementation = _objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu.cc"]),
        "hdrs": attr.label_list(allow_files = True),
        "deps": attr.label_list(providers = [CcInfo]),
        "copts": attr.string_list(),
    },
)

def sluice_cuda_library(name, srcs, hdrs = [], deps = [], copts = [], **kwargs):
    """A cc_library whose srcs are .cu.cc files compiled by nvcc.

    Args:
      name: the library's name.
      srcs: .cu.cc files.
      hdrs: the library's headers.
      deps: cc_library targets; CUDA's runtime is added.
      copts: more flags for nvcc.
      **kwargs: visibility and so on, for the cc_library.
    """
    deps = deps + ["@local_cuda//:cudart"]
    _objects(
        name = name + "_objects",
        srcs = srcs,
        hdrs = hdrs,
        copts = copts,
        deps = deps,
        target_compatible_with = CUDA_ONLY,
        visibility = ["//visibility:private"],
    )
    native.cc_library(
        name = name,
        srcs = [name + "_objects"],
        hdrs = hdrs,
        deps = deps,
        target_compatible_with = CUDA_ONLY,
        **kwargs
    )
