// The functions of tiles.h for one instruction set: included once for each, inside a namespace of its own, with
// SLUICE_TILE_TARGET (the attribute), SLUICE_TILE_BYTES (of a vector), SLUICE_TILE_LARGER(x, y), which is x > y ? x :
// y, SLUICE_TILE_SMALLER and SLUICE_TILE_STREAM(to, x), a store past the caches. Every function has the attribute,
// since GCC takes conditions on vectors apart in functions that do not.

typedef float V __attribute__((vector_size(SLUICE_TILE_BYTES)));
typedef float Memory __attribute__((vector_size(SLUICE_TILE_BYTES), may_alias, aligned(4)));
constexpr int64_t kWidth = SLUICE_TILE_BYTES / 4;

#define SLUICE_OF SLUICE_TILE_TARGET static inline __attribute__((always_inline)) void Of
#define SLUICE_TILE V t0, V t1, V t2, V t3, V t4, V t5, V t6, V t7
#define SLUICE_NEXT return reinterpret_cast<Function>(step[1].run)(step + 1, at, t0, t1, t2, t3, t4, t5, t6, t7)

using Function = void (*)(const TileStep*, int64_t, V, V, V, V, V, V, V, V);

// What the functions of the ops compute: sum.cc, product.cc, division.cc, sign.cc, nn/activation.h.
struct Add {
  SLUICE_OF(V& x, const V& y) { x = x + y; }
};
struct Sub {
  SLUICE_OF(V& x, const V& y) { x = x - y; }
};
struct Mul {
  SLUICE_OF(V& x, const V& y) { x = x * y; }
};
struct Div {
  SLUICE_OF(V& x, const V& y) { x = x / y; }
};
struct Maximum {
  SLUICE_OF(V& x, const V& y) {
    const V larger = SLUICE_TILE_LARGER(x, y);
    x = x == x ? larger : x;
  }
};
struct Minimum {
  SLUICE_OF(V& x, const V& y) {
    const V smaller = SLUICE_TILE_SMALLER(x, y);
    x = x == x ? smaller : x;
  }
};
struct SquaredDifference {
  SLUICE_OF(V& x, const V& y) {
    const V d = x - y;
    x = d * d;
  }
};
struct ReluGrad {
  SLUICE_OF(V& x, const V& y) { x = y > 0 ? x : V{}; }
};
template <class F>
struct Exchanged {
  SLUICE_OF(V& x, const V& y) {
    V z = y;
    F::Of(z, x);
    x = z;
  }
};
struct Neg {
  SLUICE_OF(V& x) { x = -x; }
};
struct Abs {
  SLUICE_OF(V& x) {
    using Bits = decltype(x > x);
    x = reinterpret_cast<V>(reinterpret_cast<Bits>(x) & 0x7fffffff);
  }
};
struct Square {
  SLUICE_OF(V& x) { x = x * x; }
};
struct Relu {
  SLUICE_OF(V& x) { x = x < 0 ? V{} : x; }
};

SLUICE_TILE_TARGET void Load(const TileStep* step, int64_t at, SLUICE_TILE) {
  const Memory* m = reinterpret_cast<const Memory*>(step->data + at);
  t0 = m[0], t1 = m[1], t2 = m[2], t3 = m[3], t4 = m[4], t5 = m[5], t6 = m[6], t7 = m[7];
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void LoadOne(const TileStep* step, int64_t at, SLUICE_TILE) {
  const V c = step->data[0] - V{};  // x - 0 is x, also for -0
  t0 = c, t1 = c, t2 = c, t3 = c, t4 = c, t5 = c, t6 = c, t7 = c;
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void Store(const TileStep* step, int64_t at, SLUICE_TILE) {
  Memory* m = reinterpret_cast<Memory*>(step->data + at);
  m[0] = t0, m[1] = t1, m[2] = t2, m[3] = t3, m[4] = t4, m[5] = t5, m[6] = t6, m[7] = t7;
  SLUICE_NEXT;
}
// Past the caches, to whole vectors.
SLUICE_TILE_TARGET void Stream(const TileStep* step, int64_t at, SLUICE_TILE) {
  float* m = step->data + at;
  SLUICE_TILE_STREAM(m, t0);
  SLUICE_TILE_STREAM(m + kWidth, t1);
  SLUICE_TILE_STREAM(m + 2 * kWidth, t2);
  SLUICE_TILE_STREAM(m + 3 * kWidth, t3);
  SLUICE_TILE_STREAM(m + 4 * kWidth, t4);
  SLUICE_TILE_STREAM(m + 5 * kWidth, t5);
  SLUICE_TILE_STREAM(m + 6 * kWidth, t6);
  SLUICE_TILE_STREAM(m + 7 * kWidth, t7);
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void Sum(const TileStep* step, int64_t at, SLUICE_TILE) {
  constexpr int kVectors = kTileSums / kWidth;
  Memory* m = reinterpret_cast<Memory*>(step->data);
  const V t[8] = {t0, t1, t2, t3, t4, t5, t6, t7};
  V sum[kVectors];
#pragma GCC unroll 8
  for (int k = 0; k < kVectors; ++k) {
    const V before = m[k];
    sum[k] = at == 0 ? t[k] : before + t[k];
  }
#pragma GCC unroll 8
  for (int g = kVectors; g < 8; ++g) sum[g % kVectors] = sum[g % kVectors] + t[g];
#pragma GCC unroll 8
  for (int k = 0; k < kVectors; ++k) m[k] = sum[k];
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void Fetch(const TileStep* step, int64_t at, SLUICE_TILE) {
  const char* m = reinterpret_cast<const char*>(step->data + at);
#pragma GCC unroll 8
  for (int b = 0; b < 8 * SLUICE_TILE_BYTES; b += 64) __builtin_prefetch(m + b, 0, 3);
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void End(const TileStep*, int64_t, V, V, V, V, V, V, V, V) {}
template <class F>
SLUICE_TILE_TARGET void Alone(const TileStep* step, int64_t at, SLUICE_TILE) {
  F::Of(t0), F::Of(t1), F::Of(t2), F::Of(t3), F::Of(t4), F::Of(t5), F::Of(t6), F::Of(t7);
  SLUICE_NEXT;
}
template <class F>
SLUICE_TILE_TARGET void Each(const TileStep* step, int64_t at, SLUICE_TILE) {
  const Memory* m = reinterpret_cast<const Memory*>(step->data + at);
  // By value: a reference would forget how memory is aligned.
  const V m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], m4 = m[4], m5 = m[5], m6 = m[6], m7 = m[7];
  F::Of(t0, m0), F::Of(t1, m1), F::Of(t2, m2), F::Of(t3, m3), F::Of(t4, m4), F::Of(t5, m5), F::Of(t6, m6),
      F::Of(t7, m7);
  SLUICE_NEXT;
}
template <class F>
SLUICE_TILE_TARGET void One(const TileStep* step, int64_t at, SLUICE_TILE) {
  const V c = step->data[0] - V{};
  F::Of(t0, c), F::Of(t1, c), F::Of(t2, c), F::Of(t3, c), F::Of(t4, c), F::Of(t5, c), F::Of(t6, c), F::Of(t7, c);
  SLUICE_NEXT;
}
SLUICE_TILE_TARGET void Run(const TileStep* steps, int64_t count) {
  const V zero = {};
  for (int64_t at = 0; at + 8 * kWidth <= count; at += 8 * kWidth) {
    reinterpret_cast<Function>(steps[0].run)(steps, at, zero, zero, zero, zero, zero, zero, zero, zero);
  }
}

TileFunctions MakeFunctions() {
  TileFunctions f;
  f.elements = 8 * kWidth;
  f.run = &Run;
  auto set = [&f](TileCode code, Function each, Function one) {
    f.step[static_cast<int>(code)][0] = reinterpret_cast<void (*)()>(each);
    f.step[static_cast<int>(code)][1] = reinterpret_cast<void (*)()>(one);
  };
  set(TileCode::kLoad, &Load, &LoadOne);
  set(TileCode::kStore, &Store, &Stream);
  set(TileCode::kAdd, &Each<Add>, &One<Add>);
  set(TileCode::kSub, &Each<Sub>, &One<Sub>);
  set(TileCode::kMul, &Each<Mul>, &One<Mul>);
  set(TileCode::kDiv, &Each<Div>, &One<Div>);
  set(TileCode::kMaximum, &Each<Maximum>, &One<Maximum>);
  set(TileCode::kMinimum, &Each<Minimum>, &One<Minimum>);
  set(TileCode::kSquaredDifference, &Each<SquaredDifference>, &One<SquaredDifference>);
  set(TileCode::kReluGrad, &Each<ReluGrad>, &One<ReluGrad>);
  set(TileCode::kAddTo, &Each<Exchanged<Add>>, &One<Exchanged<Add>>);
  set(TileCode::kSubFrom, &Each<Exchanged<Sub>>, &One<Exchanged<Sub>>);
  set(TileCode::kMulBy, &Each<Exchanged<Mul>>, &One<Exchanged<Mul>>);
  set(TileCode::kDivInto, &Each<Exchanged<Div>>, &One<Exchanged<Div>>);
  set(TileCode::kMaximumWith, &Each<Exchanged<Maximum>>, &One<Exchanged<Maximum>>);
  set(TileCode::kMinimumWith, &Each<Exchanged<Minimum>>, &One<Exchanged<Minimum>>);
  set(TileCode::kSquaredDifferenceFrom, &Each<Exchanged<SquaredDifference>>, &One<Exchanged<SquaredDifference>>);
  set(TileCode::kReluGradBy, &Each<Exchanged<ReluGrad>>, &One<Exchanged<ReluGrad>>);
  set(TileCode::kNeg, &Alone<Neg>, nullptr);
  set(TileCode::kAbs, &Alone<Abs>, nullptr);
  set(TileCode::kSquare, &Alone<Square>, nullptr);
  set(TileCode::kRelu, &Alone<Relu>, nullptr);
  set(TileCode::kSum, &Sum, &Sum);
  set(TileCode::kFetch, &Fetch, &Fetch);
  set(TileCode::kEnd, &End, nullptr);
  return f;
}

#undef SLUICE_OF
#undef SLUICE_TILE
#undef SLUICE_NEXT
