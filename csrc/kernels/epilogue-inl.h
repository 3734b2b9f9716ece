// What becomes of a tile's sums: activation, residual and their way to a matrix or map.
#pragma once

namespace mvf {
namespace {

template <class Out>
struct Destination {
  Out* data;
  int64_t stride;
  const Out* residual;  // may equal data
  int64_t residual_stride;
};

// What becomes of a tile's sums is an Epilogue's affair: epilogue(sum, header, row, column, last_lanes),
// where the tile's first element is (row, column) of the product and its last vector holds `last_lanes`
// columns.

// The first `lanes` columns of a vector to where numbers are wider than its own: part by part, so that
// residuals keep their digits.
template <bool kResidual>
MVF_INLINE void StoreParts(Vec value, const float* residual, float* out, int lanes) {
#pragma GCC unroll 2
  for (int part = 0; part < Vec::kLanes / Floats::kLanes; ++part) {
    const int at = part * Floats::kLanes, left = lanes - at;
    Floats floats = Part(value, part);
    if (left >= Floats::kLanes) {
      if constexpr (kResidual) floats = Add(floats, Floats::Load(residual + at));
      floats.Store(out + at);
    } else if (left > 0) {
      if constexpr (kResidual) floats = Add(floats, Floats::LoadPartial(residual + at, left));
      floats.StorePartial(out + at, left);
    }
  }
}

// To a row-major matrix or map.
template <Activation kActivation, bool kResidual, class Out>
struct StoreEpilogue {
  Destination<Out> to;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(Vec (&sum)[kRows][kVectors], const void* /*header*/, int64_t row, int64_t column,
                             int last_lanes) const {
    constexpr int kLanes = Vec::kLanes;
    Out* out = to.data + row * to.stride + column;
    const Out* residual = kResidual ? to.residual + row * to.residual_stride + column : nullptr;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      // All of a row before any is stored, which may be to where its residual lies.
      Vec value[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        value[j] = Activate<kActivation>(sum[i][j]);
        if constexpr (kResidual) {
          const Out* r = residual + kLanes * j;
          const bool whole = j < kVectors - 1 || last_lanes == kLanes;
          value[j] = Add(value[j], whole ? Vec::Load(r) : Vec::LoadPartial(r, last_lanes));
        }
      }
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if (j < kVectors - 1 || last_lanes == kLanes) {
          value[j].Store(out + kLanes * j);
        } else {
          value[j].StorePartial(out + kLanes * j, last_lanes);
        }
      }
      // One pointer that walks down the rows: GCC would otherwise compute each row's address from the first.
      out += to.stride;
      asm("" : "+r"(out));
      if constexpr (kResidual) {
        residual += to.residual_stride;
        asm("" : "+r"(residual));
      }
    }
  }
};

// Vectors one after another, in groups that hide the latency.
template <Activation kActivation>
void ActivateInPlace(Vec::Lane* p, int64_t vectors) {
  constexpr int64_t kGroup = 4;
  const Vec::Lane* const end = p + vectors * Vec::kLanes;
  for (; end - p >= kGroup * Vec::kLanes; p += kGroup * Vec::kLanes) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kGroup; ++j) {
      Activate<kActivation>(Vec::Load(p + j * Vec::kLanes)).Store(p + j * Vec::kLanes);
    }
  }
  for (; p < end; p += Vec::kLanes) Activate<kActivation>(Vec::Load(p)).Store(p);
}

// The same in few functions for every tile, type and activation: what is more than storing whole vectors is
// done to sums that were put down first.
struct LateEpilogue {
  void* data;
  int64_t stride;
  const void* residual;  // or null
  int64_t residual_stride;
  bool is_wide;  // data and residual are floats, and not elements
  bool silu;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(Vec (&sum)[kRows][kVectors], const void* /*header*/, int64_t row, int64_t column,
                             int last_lanes) const {
    constexpr int kLanes = Vec::kLanes;
    const bool is_whole = last_lanes == kLanes;
    if (is_whole && !is_wide && !residual) {
      Vec::Lane* const out = static_cast<Vec::Lane*>(data) + row * stride + column;
      StoreTile(sum, out, stride);
      if (silu) ActivateRows<kVectors>(out, stride, kRows);
      return;
    }
    if (is_whole && is_wide && !silu) {
      return residual ? StoreWide<true>(sum, row, column) : StoreWide<false>(sum, row, column);
    }
    alignas(kAlignment) Vec::Lane sums[kRows][kVectors][kLanes];
    StoreTile(sum, sums[0][0], kVectors * kLanes);
    Finish(*this, sums[0][0], kRows, kVectors, row, column, last_lanes);
  }

 private:
  template <int kRows, int kVectors>
  static MVF_INLINE void StoreTile(Vec (&sum)[kRows][kVectors], Vec::Lane* out, int64_t stride) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i, out += stride) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j].Store(out + Vec::kLanes * j);
    }
  }

  template <bool kResidual, int kRows, int kVectors>
  MVF_INLINE void StoreWide(Vec (&sum)[kRows][kVectors], int64_t row, int64_t column) const {
    float* out = static_cast<float*>(data) + row * stride + column;
    const float* from =
        kResidual ? static_cast<const float*>(residual) + row * residual_stride + column : nullptr;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const float* const residual_part = kResidual ? from + Vec::kLanes * j : nullptr;
        StoreParts<kResidual>(sum[i][j], residual_part, out + Vec::kLanes * j, Vec::kLanes);
      }
      out += stride;
      asm("" : "+r"(out));
      if constexpr (kResidual) {
        from += residual_stride;
        asm("" : "+r"(from));
      }
    }
  }

  // Rows of kVectors vectors in place.
  template <int kVectors>
  static void __attribute__((noinline)) ActivateRows(Vec::Lane* p, int64_t stride, int64_t rows) {
    for (int64_t i = 0; i < rows; ++i, p += stride) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) Silu(Vec::Load(p + Vec::kLanes * j)).Store(p + Vec::kLanes * j);
    }
  }

  static void __attribute__((noinline)) Finish(const LateEpilogue& to, Vec::Lane* sums, int rows, int vectors,
                                               int64_t row, int64_t column, int last_lanes) {
    constexpr int kLanes = Vec::kLanes;
    if (to.silu) ActivateInPlace<Activation::kSilu>(sums, rows * vectors);
    for (int i = 0; i < rows; ++i) {
      const int64_t at = (row + i) * to.stride + column;
      const int64_t residual_at = (row + i) * to.residual_stride + column;
      for (int j = 0; j < vectors; ++j, sums += kLanes) {
        const int lanes = j < vectors - 1 ? kLanes : last_lanes;
        Vec value = Vec::Load(sums);
        if (to.is_wide) {
          float* const out = static_cast<float*>(to.data) + at + kLanes * j;
          const float* const residual = static_cast<const float*>(to.residual) + residual_at + kLanes * j;
          to.residual ? StoreParts<true>(value, residual, out, lanes)
                      : StoreParts<false>(value, nullptr, out, lanes);
          continue;
        }
        Vec::Lane* const out = static_cast<Vec::Lane*>(to.data) + at + kLanes * j;
        const Vec::Lane* const residual =
            static_cast<const Vec::Lane*>(to.residual) + residual_at + kLanes * j;
        if (lanes == kLanes) {
          if (to.residual) value = Add(value, Vec::Load(residual));
          value.Store(out);
        } else {
          if (to.residual) value = Add(value, Vec::LoadPartial(residual, lanes));
          value.StorePartial(out, lanes);
        }
      }
    }
  }
};

template <class Dot, Activation kActivation, bool kResidual, class Out>
MVF_INLINE auto EpilogueTo(Destination<Out> to) {
  if constexpr (kIsCompact<Dot>) {
    static_assert(kActivation == Activation::kNone || kActivation == Activation::kSilu);
    return LateEpilogue{to.data,
                        to.stride,
                        kResidual ? to.residual : nullptr,
                        to.residual_stride,
                        sizeof(Out) > sizeof(Vec::Lane),
                        kActivation == Activation::kSilu};
  } else {
    return StoreEpilogue<kActivation, kResidual, Out>{to};
  }
}

}  // namespace
}  // namespace mvf
