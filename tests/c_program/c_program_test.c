/* A C program that builds a graph, writes it as a GraphDef, loads that into a second graph, and runs both: y = x * w + 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/c_api/sluice.h"

static int failures = 0;

#define EXPECT(condition)                                                   \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                           \
    }                                                                       \
  } while (0)

static void MustBeOk(SL_Status* s, int line) {
  if (SL_StatusCode(s) != 0) {
    fprintf(stderr, "line %d: error %d: %s\n", line, SL_StatusCode(s), SL_StatusMessage(s));
    exit(1);
  }
}
#define OK(s) MustBeOk(s, __LINE__)

static SL_Operation* Constant(SL_Graph* g, const char* name, const float* values, const int64_t* dims, int rank, SL_Status* s) {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= dims[i];
  SL_Tensor* t = SL_NewTensor(1, dims, rank, s);
  OK(s);
  memcpy(SL_TensorData(t), values, n * sizeof(float));
  SL_OpBuilder* b = SL_NewOp(g, "Const", name);
  SL_SetAttrTensor(b, "value", t);
  SL_SetAttrType(b, "dtype", 1);
  SL_DeleteTensor(t);
  SL_Operation* op = SL_FinishOp(b, s);
  OK(s);
  return op;
}

static SL_Operation* Binary(SL_Graph* g, const char* type, const char* name, SL_Operation* x, SL_Operation* y, SL_Status* s) {
  SL_OpBuilder* b = SL_NewOp(g, type, name);
  SL_Output a = {x, 0}, c = {y, 0};
  SL_AddInput(b, a);
  SL_AddInput(b, c);
  return SL_FinishOp(b, s);
}

static int released = 0;
static void Release(void* arg) {
  (void)arg;
  ++released;
}

/* Runs "y" of a graph with x = values, from memory that it borrows. */
static void RunAndCheck(SL_Graph* g, SL_Status* s) {
  SL_Session* session = SL_NewSession(g, NULL, 0, s);
  OK(s);
  SL_Output x = {SL_GraphFind(g, "x"), 0}, y = {SL_GraphFind(g, "y"), 0};
  SL_Callable* c = SL_MakeCallable(session, &x, 1, &y, 1, NULL, 0, s);
  OK(s);
  static const float values[] = {1, 2, 3, 4};
  const int64_t dims[] = {2, 2};
  released = 0;
  for (int step = 0; step < 3; ++step) {
    SL_Tensor* in = SL_NewBorrowedTensor(1, dims, 2, values, sizeof(values), Release, NULL, s);
    OK(s);
    SL_Tensor* out = NULL;
    SL_RunCallable(c, &in, &out, NULL, s);
    OK(s);
    EXPECT(SL_TensorType(out) == 1 && SL_TensorRank(out) == 2 && SL_TensorElements(out) == 4);
    const float* got = (const float*)SL_TensorData(out);
    for (int i = 0; i < 4; ++i) EXPECT(fabsf(got[i] - (values[i] * 10 + 1)) < 1e-6f);
    SL_DeleteTensor(in);
    SL_DeleteTensor(out);
  }
  EXPECT(released == 3);

  /* A feed of a wrong type is an error that leaves the session usable. */
  SL_Tensor* wrong = SL_NewTensor(3, dims, 2, s);
  OK(s);
  memset(SL_TensorData(wrong), 0, SL_TensorBytes(wrong));
  SL_Tensor* out = NULL;
  SL_RunCallable(c, &wrong, &out, NULL, s);
  EXPECT(SL_StatusCode(s) != 0 && out == NULL);
  SL_DeleteTensor(wrong);

  SL_RunOptions options;
  memset(&options, 0, sizeof(options));
  options.struct_size = sizeof(options);
  SL_Buffer* metadata = NULL;
  options.trace = 1;
  options.metadata = &metadata;
  SL_Tensor* in = SL_NewBorrowedTensor(1, dims, 2, values, sizeof(values), NULL, NULL, s);
  SL_RunCallable(c, &in, &out, &options, s);
  OK(s);
  EXPECT(metadata != NULL && SL_BufferSize(metadata) > 0);
  SL_DeleteBuffer(metadata);
  SL_DeleteTensor(in);
  SL_DeleteTensor(out);

  SL_DeviceList* devices = SL_ListDevices(session, s);
  EXPECT(SL_NumDevices(devices) == 1 && strcmp(SL_DeviceType(devices, 0), "CPU") == 0);
  SL_DeleteDeviceList(devices);
  SL_DeleteCallable(c);
  SL_CloseSession(session, s);
  OK(s);
  SL_DeleteSession(session);
}

int main(void) {
  EXPECT(SL_AbiVersion() == SL_ABI_VERSION);
  SL_Status* s = SL_NewStatus();
  SL_Graph* g = SL_NewGraph();

  SL_OpBuilder* b = SL_NewOp(g, "Placeholder", "x");
  const int64_t open[] = {-1, 2};
  SL_SetAttrType(b, "dtype", 1);
  SL_SetAttrShape(b, "shape", open, 2);
  SL_SetSource(b, "model.c", 41);
  SL_Operation* x = SL_FinishOp(b, s);
  OK(s);
  const float ten = 10, one = 1;
  SL_Operation* w = Constant(g, "w", &ten, NULL, 0, s);
  SL_Operation* product = Binary(g, "Mul", "product", x, w, s);
  OK(s);
  SL_Operation* y = Binary(g, "AddV2", "y", product, Constant(g, "one", &one, NULL, 0, s), s);
  OK(s);

  SL_Output out = {y, 0};
  int64_t shape[4];
  EXPECT(SL_OutputShape(g, out, shape, 4) == 2 && shape[0] == -1 && shape[1] == 2);
  int line = 0;
  EXPECT(strcmp(SL_OperationSource(x, &line), "model.c") == 0 && line == 41);

  /* A mistake names op, node and line, and leaves the graph as it was. */
  const int before = SL_GraphNumIds(g);
  const float three[] = {1, 2, 3};
  const int64_t dims3[] = {3};
  SL_Operation* bad = Binary(g, "MatMul", "bad", x, Constant(g, "v", three, dims3, 1, s), s);
  EXPECT(bad == NULL && SL_StatusCode(s) == 3 && strstr(SL_StatusMessage(s), "MatMul 'bad'") != NULL);
  EXPECT(SL_GraphNumIds(g) == before + 1 && SL_GraphFind(g, "bad") == NULL);

  RunAndCheck(g, s);

  /* dy/dx = w */
  SL_Output xs = {x, 0};
  SL_GradientOptions gradient;
  memset(&gradient, 0, sizeof(gradient));
  gradient.struct_size = sizeof(gradient);
  gradient.scope = "gradients";
  SL_Grad grad;
  SL_AddGradients(g, &out, 1, &xs, 1, NULL, &gradient, &grad, s);
  OK(s);
  EXPECT(grad.dense.op != NULL && grad.values.op == NULL);

  SL_Buffer* def = SL_GraphToDef(g, 0, 0, s);
  OK(s);
  SL_Graph* loaded = SL_NewGraph();
  SL_ImportOptions import;
  memset(&import, 0, sizeof(import));
  import.struct_size = sizeof(import);
  SL_ImportGraphDef(loaded, SL_BufferData(def), SL_BufferSize(def), &import, NULL, NULL, NULL, s);
  OK(s);
  RunAndCheck(loaded, s);
  SL_ImportGraphDef(loaded, "\xff\xff", 2, &import, NULL, NULL, NULL, s);
  EXPECT(SL_StatusCode(s) == 3);

  SL_DeleteBuffer(def);
  SL_DeleteGraph(loaded);
  SL_DeleteGraph(g);
  SL_DeleteStatus(s);
  printf(failures ? "%d failed\n" : "all is well\n", failures);
  return failures != 0;
}
