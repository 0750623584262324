/* The C boundary of Sluice: everything a front end needs, with opaque handles and no C++ types.
 *
 *   SL_Status* s = SL_NewStatus();
 *   SL_Graph* g = SL_NewGraph();
 *   SL_OpBuilder* b = SL_NewOp(g, "Placeholder", "x");
 *   SL_SetAttrType(b, "dtype", 1);
 *   SL_Operation* x = SL_FinishOp(b, s);
 *   ...
 *   SL_Session* session = SL_NewSession(g, NULL, 0, s);
 *   SL_Callable* c = SL_MakeCallable(session, feeds, 1, fetches, 1, NULL, 0, s);
 *   SL_RunCallable(c, inputs, outputs, NULL, s);
 *
 * Stability: functions are added and never changed or removed; SL_AbiVersion() grows with additions. Structs passed by
 * pointer begin with the size that the caller knows (`struct_size`), so they may grow. Threads: any function from any
 * thread on different handles; graphs, sessions and callables also on the same one. Ownership: what SL_New...,
 * SL_Make..., and out-parameters of type T** give belongs to the caller, who deletes it with SL_Delete...; SL_Operation
 * belongs to its graph. A session keeps its graph alive. Errors: reported in `status`, which is never NULL; on an error
 * the results are NULL or untouched. Codes are the canonical ones. Strings: UTF-8; those returned live as long as the
 * handle they were asked of, unless said otherwise.
 */
#ifndef SLUICE_RUNTIME_C_API_SLUICE_H_
#define SLUICE_RUNTIME_C_API_SLUICE_H_

#include <stddef.h>
#include <stdint.h>

#define SL_API __attribute__((visibility("default")))
#define SL_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

SL_API int SL_AbiVersion(void);
SL_API const char* SL_Version(void);
/* The CRC-32C (Castagnoli) of bytes: the checksum of record files and checkpoints, before they mask it. */
SL_API uint32_t SL_Crc32c(const void* data, size_t size);
/* That of the bytes behind those whose checksum is `crc`. */
SL_API uint32_t SL_ExtendCrc32c(uint32_t crc, const void* data, size_t size);

typedef struct SL_Status SL_Status;
typedef struct SL_Buffer SL_Buffer;
typedef struct SL_Tensor SL_Tensor;
typedef struct SL_Graph SL_Graph;
typedef struct SL_OpBuilder SL_OpBuilder;
typedef struct SL_Operation SL_Operation;
typedef struct SL_OpDef SL_OpDef;
typedef struct SL_Attr SL_Attr;
typedef struct SL_Session SL_Session;
typedef struct SL_Callable SL_Callable;
typedef struct SL_Cancellation SL_Cancellation;
typedef struct SL_DeviceList SL_DeviceList;

/* One output of an operation; op is NULL for "none". */
typedef struct SL_Output {
  SL_Operation* op;
  int index;
} SL_Output;

/* ---- status and buffers ---- */
SL_API SL_Status* SL_NewStatus(void);
SL_API void SL_DeleteStatus(SL_Status* status);
SL_API void SL_SetStatus(SL_Status* status, int code, const char* message);
SL_API int SL_StatusCode(const SL_Status* status);
SL_API const char* SL_StatusMessage(const SL_Status* status);

SL_API const void* SL_BufferData(const SL_Buffer* buffer);
SL_API size_t SL_BufferSize(const SL_Buffer* buffer);
SL_API void SL_DeleteBuffer(SL_Buffer* buffer);

/* ---- tensors: types are TensorFlow's DataType numbers ---- */
/* Uninitialised elements of a plain type. */
SL_API SL_Tensor* SL_NewTensor(int dtype, const int64_t* dims, int rank, SL_Status* status);
/* Borrows `data`; `release` (may be NULL) runs once nobody reads it any more, on any thread, and not when there is an
 * error. Nobody writes to it, and what a step keeps of it is a copy. */
SL_API SL_Tensor* SL_NewBorrowedTensor(int dtype, const int64_t* dims, int rank, const void* data, size_t bytes,
                                       void (*release)(void* arg), void* arg, SL_Status* status);
SL_API SL_Tensor* SL_NewStringTensor(const int64_t* dims, int rank, const char* const* values, const size_t* sizes,
                                     size_t count, SL_Status* status);
SL_API SL_Tensor* SL_ShareTensor(const SL_Tensor* tensor);
SL_API void SL_DeleteTensor(SL_Tensor* tensor);
SL_API int SL_TensorType(const SL_Tensor* tensor);
SL_API int SL_TensorRank(const SL_Tensor* tensor);
SL_API int64_t SL_TensorDim(const SL_Tensor* tensor, int i);
SL_API int64_t SL_TensorElements(const SL_Tensor* tensor);
SL_API size_t SL_TensorBytes(const SL_Tensor* tensor);
SL_API void* SL_TensorData(const SL_Tensor* tensor); /* of plain types */
/* Nobody else can see the bytes. */
SL_API int SL_TensorIsUnique(const SL_Tensor* tensor);
SL_API const char* SL_TensorString(const SL_Tensor* tensor, size_t i, size_t* size);
/* One line about element i, for types without bytes (resources, variants). The caller deletes the buffer. */
SL_API SL_Buffer* SL_TensorDebugString(const SL_Tensor* tensor);

/* ---- ops of the registry ---- */
typedef struct SL_ArgSpec {
  const char* name;
  int type; /* 0 unless fixed */
  const char* type_attr;
  const char* number_attr;
  const char* type_list_attr;
  int is_ref;
  const char* doc;
} SL_ArgSpec;
typedef struct SL_AttrSpec {
  const char* name;
  const char* type;             /* "int", "list(type)" ... */
  const SL_Attr* default_value; /* NULL when there is none */
  uint32_t allowed_types;       /* bit n: DataType n; 0 allows all */
  const char* doc;
} SL_AttrSpec;
/* NULL when there is none. Lives for the process. */
SL_API const SL_OpDef* SL_FindOpDef(const char* op_type);
SL_API const SL_OpDef* SL_OperationOpDef(const SL_Operation* op);
SL_API const char* SL_OpDefName(const SL_OpDef* def);
SL_API const char* SL_OpDefSummary(const SL_OpDef* def);
SL_API const char* SL_OpDefDescription(const SL_OpDef* def);
SL_API int SL_OpDefIsStateful(const SL_OpDef* def);
SL_API int SL_OpDefNumInputs(const SL_OpDef* def);
SL_API void SL_OpDefInput(const SL_OpDef* def, int i, SL_ArgSpec* spec);
SL_API int SL_OpDefNumOutputs(const SL_OpDef* def);
SL_API void SL_OpDefOutput(const SL_OpDef* def, int i, SL_ArgSpec* spec);
SL_API int SL_OpDefNumAttrs(const SL_OpDef* def);
SL_API void SL_OpDefAttr(const SL_OpDef* def, int i, SL_AttrSpec* spec);
/* Names of all ops, sorted, each ended by '\n'. */
SL_API SL_Buffer* SL_ListOpNames(void);
/* A serialised OpList of all ops; of one op, an OpDef. */
SL_API SL_Buffer* SL_ListOps(void);
SL_API SL_Buffer* SL_OpDefProto(const SL_OpDef* def);
/* The device types with a kernel for the op, each ended by '\n'. */
SL_API SL_Buffer* SL_KernelDevices(const char* op_type);
/* The compiler's passes in the order in which they run, each ended by '\n'. SLUICE_DISABLE_PASSES switches them off by
 * name. */
SL_API SL_Buffer* SL_ListPasses(void);
/* Loads a shared library of custom ops (core/kernel/op_library.h). Gives the names of the ops that it added, each ended
 * by '\n'. A library with a mistake, or compiled against other headers, is refused and changes nothing. No other thread
 * may build or start to run a graph meanwhile. */
SL_API SL_Buffer* SL_LoadOpLibrary(const char* path, SL_Status* status);

/* ---- attribute values ---- */
enum {
  SL_ATTR_NONE = 0,
  SL_ATTR_STRING = 1,
  SL_ATTR_INT = 2,
  SL_ATTR_FLOAT = 3,
  SL_ATTR_BOOL = 4,
  SL_ATTR_TYPE = 5,
  SL_ATTR_SHAPE = 6,
  SL_ATTR_TENSOR = 7,
  SL_ATTR_FUNC = 8,
  SL_ATTR_LIST = 16 /* added to the above */
};
SL_API int SL_AttrKind(const SL_Attr* attr);
SL_API int SL_AttrLength(const SL_Attr* attr); /* of a list, else 1 */
SL_API const char* SL_AttrString(const SL_Attr* attr, int i, size_t* size);
SL_API int64_t SL_AttrInt(const SL_Attr* attr, int i); /* int, bool and type */
SL_API double SL_AttrFloat(const SL_Attr* attr, int i);
/* The rank, -1 when unknown; dims (may be NULL) gets as many sizes, -1 where unknown. */
SL_API int SL_AttrShape(const SL_Attr* attr, int i, int64_t* dims);
SL_API SL_Tensor* SL_AttrTensor(const SL_Attr* attr, int i);
SL_API const char* SL_AttrFunc(const SL_Attr* attr, int i);
SL_API SL_Buffer* SL_AttrProto(const SL_Attr* attr); /* a serialised AttrValue */
/* The kind of a declared attribute by op type, SL_ATTR_NONE when unknown. */
SL_API int SL_OpDefAttrKind(const SL_OpDef* def, const char* name);

/* ---- graphs ---- */
SL_API SL_Graph* SL_NewGraph(void);
SL_API void SL_DeleteGraph(SL_Graph* graph);
SL_API int SL_GraphNumIds(const SL_Graph* graph); /* operations have ids below it, in order of creation */
SL_API SL_Operation* SL_GraphFind(const SL_Graph* graph, const char* name);
SL_API SL_Operation* SL_GraphFindById(const SL_Graph* graph, int id);
SL_API int SL_GraphProducer(const SL_Graph* graph);

/* Starts an operation; the op type is checked by SL_FinishOp. */
SL_API SL_OpBuilder* SL_NewOp(SL_Graph* graph, const char* op_type, const char* name);
SL_API void SL_AddInput(SL_OpBuilder* b, SL_Output input); /* in order; elements of list arguments one by one */
SL_API void SL_AddControlInput(SL_OpBuilder* b, SL_Operation* op);
SL_API void SL_SetDevice(SL_OpBuilder* b, const char* device);
SL_API void SL_SetSource(SL_OpBuilder* b, const char* file, int line);
SL_API void SL_SetAttrString(SL_OpBuilder* b, const char* name, const char* value, size_t size);
SL_API void SL_SetAttrInt(SL_OpBuilder* b, const char* name, int64_t value);
SL_API void SL_SetAttrFloat(SL_OpBuilder* b, const char* name, double value);
SL_API void SL_SetAttrBool(SL_OpBuilder* b, const char* name, int value);
SL_API void SL_SetAttrType(SL_OpBuilder* b, const char* name, int value);
SL_API void SL_SetAttrShape(SL_OpBuilder* b, const char* name, const int64_t* dims, int rank); /* rank -1: unknown */
SL_API void SL_SetAttrTensor(SL_OpBuilder* b, const char* name, const SL_Tensor* value);
SL_API void SL_SetAttrFunc(SL_OpBuilder* b, const char* name, const char* function);
SL_API void SL_SetAttrStringList(SL_OpBuilder* b, const char* name, const char* const* values, const size_t* sizes,
                                 int count);
SL_API void SL_SetAttrIntList(SL_OpBuilder* b, const char* name, const int64_t* values, int count);
SL_API void SL_SetAttrFloatList(SL_OpBuilder* b, const char* name, const double* values, int count);
SL_API void SL_SetAttrBoolList(SL_OpBuilder* b, const char* name, const int* values, int count);
SL_API void SL_SetAttrTypeList(SL_OpBuilder* b, const char* name, const int* values, int count);
SL_API void SL_SetAttrShapeList(SL_OpBuilder* b, const char* name, const int64_t* const* dims, const int* ranks,
                                int count);
SL_API void SL_SetAttrTensorList(SL_OpBuilder* b, const char* name, SL_Tensor* const* values, int count);
SL_API void SL_SetAttrFuncList(SL_OpBuilder* b, const char* name, const char* const* functions, int count);
/* A serialised AttrValue. */
SL_API void SL_SetAttrProto(SL_OpBuilder* b, const char* name, const void* data, size_t size);
/* Adds the operation and deletes the builder, also on errors. Attributes that follow from the inputs, or have defaults,
 * may be left out. */
SL_API SL_Operation* SL_FinishOp(SL_OpBuilder* b, SL_Status* status);
/* Deletes a builder without adding anything. */
SL_API void SL_DropOp(SL_OpBuilder* b);

SL_API int SL_OperationId(const SL_Operation* op);
SL_API const char* SL_OperationName(const SL_Operation* op);
SL_API const char* SL_OperationType(const SL_Operation* op);
SL_API const char* SL_OperationDevice(const SL_Operation* op);
SL_API const char* SL_OperationSource(const SL_Operation* op, int* line); /* "" when not known */
SL_API int SL_OperationNumInputs(const SL_Operation* op);
SL_API SL_Output SL_OperationInput(const SL_Operation* op, int i);
SL_API int SL_OperationNumControlInputs(const SL_Operation* op);
SL_API SL_Operation* SL_OperationControlInput(const SL_Operation* op, int i);
SL_API int SL_OperationNumControlOutputs(const SL_Operation* op);
SL_API SL_Operation* SL_OperationControlOutput(const SL_Operation* op, int i);
SL_API int SL_OperationNumOutputs(const SL_Operation* op);
SL_API int SL_OperationOutputType(const SL_Operation* op, int i);
/* Readers of an output: up to `max` of them into `consumers` (with `inputs[k]` the input's position); returns how many
 * there are. */
SL_API int SL_OperationConsumers(const SL_Graph* graph, SL_Output output, SL_Operation** consumers, int* inputs,
                                 int max);
SL_API const SL_Attr* SL_OperationAttr(const SL_Operation* op, const char* name); /* NULL when there is none */
/* The rank, -1 when unknown; up to `max` sizes go into dims. */
SL_API int SL_OutputShape(const SL_Graph* graph, SL_Output output, int64_t* dims, int max);
/* Merges what the caller knows into the shape. */
SL_API void SL_RefineShape(SL_Graph* graph, SL_Output output, const int64_t* dims, int rank, SL_Status* status);
/* Elements of an integer output known while the graph is built; -1 when nothing is; unknown elements are INT64_MIN. */
SL_API int SL_OutputValue(const SL_Graph* graph, SL_Output output, int64_t* values, int max);

SL_API void SL_GraphSetDevice(SL_Graph* graph, SL_Operation* op, const char* device);
/* A serialised AttrValue. */
SL_API void SL_GraphSetAttrProto(SL_Graph* graph, SL_Operation* op, const char* name, const void* data, size_t size,
                                 SL_Status* status);
SL_API void SL_GraphAddControlInput(SL_Graph* graph, SL_Operation* op, SL_Operation* input, SL_Status* status);
SL_API void SL_GraphUpdateInput(SL_Graph* graph, SL_Operation* op, int i, SL_Output input, SL_Status* status);

/* Serialised GraphDef and NodeDef. */
SL_API SL_Buffer* SL_GraphToDef(const SL_Graph* graph, int add_shapes, int debug_info, SL_Status* status);
SL_API SL_Buffer* SL_OperationToDef(const SL_Graph* graph, const SL_Operation* op, SL_Status* status);

typedef struct SL_ImportOptions {
  size_t struct_size;
  const char* prefix;    /* may be NULL */
  int num_inputs_mapped; /* "node:index" or "^node" of the message replaced by an output of the graph */
  const char* const* inputs_mapped;
  const SL_Output* input_replacements;
  int num_return_outputs; /* "node:index" */
  const char* const* return_outputs;
  int num_return_operations;
  const char* const* return_operations;
  int num_control_inputs; /* of imported nodes without inputs */
  SL_Operation* const* control_inputs;
  const char* default_device;
  int uniquify_names;
} SL_ImportOptions;
/* `outputs` and `operations` have room for what the options ask. `unused` (may be NULL) gets the keys of inputs_mapped
 * that were not found, each ended by '\n'. */
SL_API void SL_ImportGraphDef(SL_Graph* graph, const void* def, size_t size, const SL_ImportOptions* options,
                              SL_Output* outputs, SL_Operation** operations, SL_Buffer** unused, SL_Status* status);

/* Adds a function whose body is a copy of `body`: its arguments are the `_Arg` nodes there, its results the `_Retval`
 * nodes, in the order of their `index`. */
SL_API void SL_GraphAddFunction(SL_Graph* graph, const SL_Graph* body, const char* name, SL_Status* status);

/* Adds a copy of the body of a function of `library` to `graph`, its arguments replaced by `args`, under the scope
 * `prefix` (may be
 * ""). `results` gets as many outputs as there is room for; returns how many the function has, -1 on an error. */
SL_API int SL_InlineFunction(SL_Graph* graph, const SL_Graph* library, const char* name, const char* prefix,
                             const SL_Output* args, int num_args, SL_Output* results, int max_results,
                             SL_Status* status);

/* ---- gradients ---- */
/* A gradient: `dense`, or rows `values` at `indices` of `dense_shape` (whose op may be NULL); none when all are NULL.
 */
typedef struct SL_Grad {
  SL_Output dense, values, indices, dense_shape;
} SL_Grad;
/* A rule in place of the registered one: 1 when it filled `dxs`, 0 to use the registered one, -1 for an error in
 * `status`. It may add nodes to the graph. */
typedef int (*SL_GradientOverride)(void* arg, SL_Operation* forward, const SL_Grad* dys, int num_dys, SL_Grad* dxs,
                                   int num_dxs, SL_Status* status);
typedef struct SL_GradientOptions {
  size_t struct_size;
  const char* scope; /* names of new nodes begin with it */
  int colocate;
  int zeros_for_unconnected;
  int num_stop;
  const SL_Output* stop;
  SL_GradientOverride override_rule; /* may be NULL */
  void* arg;
} SL_GradientOptions;
/* d(sum of ys)/d(xs) into `grads` (num_xs of them). `grad_ys` is NULL or has an output (op NULL: ones) for each y. */
SL_API void SL_AddGradients(SL_Graph* graph, const SL_Output* ys, int num_ys, const SL_Output* xs, int num_xs,
                            const SL_Output* grad_ys, const SL_GradientOptions* options, SL_Grad* grads,
                            SL_Status* status);

/* ---- servers ---- */
/* One task of a cluster: a worker and a master at one address. */
typedef struct SL_Server SL_Server;
/* `server_def` is a serialised ServerDef. Binds the port; calls are answered after SL_StartServer. */
SL_API SL_Server* SL_NewServer(const void* server_def, size_t size, SL_Status* status);
SL_API void SL_StartServer(SL_Server* server);
/* Ends its sessions and steps. */
SL_API void SL_StopServer(SL_Server* server);
/* Waits for SL_StopServer by another thread: 1 when it came, 0 after `timeout_seconds`. */
SL_API int SL_JoinServer(SL_Server* server, double timeout_seconds);
/* "grpc://host:port", with the port that was bound. */
SL_API const char* SL_ServerTarget(const SL_Server* server);
SL_API void SL_DeleteServer(SL_Server* server);
/* Serves numbers of the task for Prometheus at http://address/metrics; "localhost:0" takes any free port. */
SL_API void SL_ServeMetrics(SL_Server* server, const char* address, SL_Status* status);
/* "host:port" with the port that was bound, "" when they are not served. The caller deletes the buffer. */
SL_API SL_Buffer* SL_ServerMetricsAddress(const SL_Server* server);

/* ---- sessions ---- */
/* `config` is a serialised ConfigProto, or NULL. */
SL_API SL_Session* SL_NewSession(SL_Graph* graph, const void* config, size_t size, SL_Status* status);
/* As SL_NewSession for the master at `target`: "grpc://host:port", or "" and "local" for this process. */
SL_API SL_Session* SL_NewSessionWithTarget(SL_Graph* graph, const char* target, const void* config, size_t size,
                                           SL_Status* status);
/* Frees the resources of the containers (of all when count is 0) of the cluster of the master at `target`. */
SL_API void SL_ResetTarget(const char* target, const char* const* containers, int count, SL_Status* status);
/* What the task at "grpc://host:port" does, in numbers: a serialised WorkerStateResponse of
   distributed/proto/worker.proto. Waits at most timeout_seconds. */
SL_API SL_Buffer* SL_TaskState(const char* target, double timeout_seconds, SL_Status* status);
/* What the training that this process drives says about its time: a serialised EffectiveTime of the same file, kept
   until the next call. SL_TaskState of a server of this process tells it. */
SL_API void SL_SetEffectiveTime(const void* effective_time, size_t size);

/* ---- calls of gRPC services that others wrote ---- */
/* One call of "/package.Service/Method" at "host:port": messages are bytes that caller and service understand. One
 * thread at a time uses it; SL_CancelRpc may come from any. Errors name the method and the address. */
typedef struct SL_Rpc SL_Rpc;
/* `roots`, `certificate`, `key` are PEM texts, "" for none; without roots there is no TLS. The whole call ends after
 * `timeout_seconds`; 0: no limit. */
SL_API SL_Rpc* SL_StartRpc(const char* address, const char* method, const char* roots, const char* certificate,
                           const char* key, double timeout_seconds, SL_Status* status);
/* `last`: no message follows. */
SL_API void SL_SendRpc(SL_Rpc* rpc, const void* message, size_t size, int last, double timeout_seconds,
                       SL_Status* status);
/* The next message. DEADLINE_EXCEEDED when none came in time (it may still come), OUT_OF_RANGE after the last one. */
SL_API SL_Buffer* SL_ReceiveRpc(SL_Rpc* rpc, double timeout_seconds, SL_Status* status);
SL_API void SL_CancelRpc(SL_Rpc* rpc);
SL_API void SL_DeleteRpc(SL_Rpc* rpc);
/* Waits for its steps; its callables are deleted before. */
SL_API void SL_DeleteSession(SL_Session* session);
SL_API void SL_CloseSession(SL_Session* session, SL_Status* status);
SL_API void SL_ResetSession(SL_Session* session, const char* const* containers, int count, SL_Status* status);
SL_API SL_DeviceList* SL_ListDevices(SL_Session* session, SL_Status* status);
SL_API void SL_DeleteDeviceList(SL_DeviceList* list);
SL_API int SL_NumDevices(const SL_DeviceList* list);
SL_API const char* SL_DeviceName(const SL_DeviceList* list, int i);
SL_API const char* SL_DeviceType(const SL_DeviceList* list, int i);
SL_API int64_t SL_DeviceMemory(const SL_DeviceList* list, int i);
SL_API uint64_t SL_DeviceIncarnation(const SL_DeviceList* list, int i);

/* What a step runs: feeds in, fetches out, targets run and not fetched. Resolved once; the session keeps one for each
 * signature. */
SL_API SL_Callable* SL_MakeCallable(SL_Session* session, const SL_Output* feeds, int num_feeds,
                                    const SL_Output* fetches, int num_fetches, SL_Operation* const* targets,
                                    int num_targets, SL_Status* status);
SL_API void SL_DeleteCallable(SL_Callable* callable);

typedef struct SL_RunOptions {
  size_t struct_size;
  int trace; /* collect step statistics */
  int partition_graphs;
  int64_t timeout_ms;            /* 0: the session's */
  SL_Cancellation* cancellation; /* may be NULL */
  SL_Buffer** metadata;          /* may be NULL; gets a serialised RunMetadata */
} SL_RunOptions;
/* Feeds are read and not kept; `fetches` gets as many new tensors as the callable fetches. `options` may be NULL. */
SL_API void SL_RunCallable(SL_Callable* callable, SL_Tensor* const* feeds, SL_Tensor** fetches,
                           const SL_RunOptions* options, SL_Status* status);
/* Steps that are run in parts: each feed is given once, each fetch taken once. SL_SetUpPartialRun gives the handle, a
 * text; SL_PartialRun gives some feeds, which are copied, and waits for some fetches (`results` gets as many new
 * tensors). `options` may be NULL; of them timeout_ms and cancellation count, and either ends the whole step. */
SL_API SL_Buffer* SL_SetUpPartialRun(SL_Session* session, const SL_Output* feeds, int num_feeds,
                                     const SL_Output* fetches, int num_fetches, SL_Operation* const* targets,
                                     int num_targets, SL_Status* status);
SL_API void SL_PartialRun(SL_Session* session, const char* handle, const SL_Output* feeds, SL_Tensor* const* values,
                          int num_feeds, const SL_Output* fetches, int num_fetches, SL_Tensor** results,
                          const SL_RunOptions* options, SL_Status* status);
/* Text about a callable: where each node runs and why; the plan. */
SL_API SL_Buffer* SL_ExplainPlacement(SL_Callable* callable, SL_Status* status);
SL_API SL_Buffer* SL_DumpPlan(SL_Callable* callable, SL_Status* status);

SL_API SL_Cancellation* SL_NewCancellation(void);
SL_API void SL_DeleteCancellation(SL_Cancellation* cancellation);
SL_API void SL_Cancel(SL_Cancellation* cancellation, const char* why);
SL_API int SL_IsCancelled(const SL_Cancellation* cancellation);
/* Ready for the next step. No step may be using it. */
SL_API void SL_ResetCancellation(SL_Cancellation* cancellation);

/* ---- functions of the host language ---- */
/* Runs the function that a PyFunc node names by its token: `outputs` gets new tensors, which the runtime deletes.
 * Called on any thread. */
typedef void (*SL_HostFunction)(void* arg, const char* token, SL_Tensor* const* inputs, int num_inputs,
                                SL_Tensor** outputs, int num_outputs, SL_Status* status);
SL_API void SL_SetHostFunction(SL_HostFunction function, void* arg);

#ifdef __cplusplus
}
#endif

#endif /* SLUICE_RUNTIME_C_API_SLUICE_H_ */
