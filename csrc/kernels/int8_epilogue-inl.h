// What becomes of integer sums: bytes, by one fused multiply-add, a rounding and perhaps a table; floats; or
// the sums themselves.
#pragma once

namespace mvf {
namespace {

// The two rows of a panel's header that follow the bias.
template <int kVectors>
MVF_INLINE Vec MultiplierOf(const void* header, int vector) {
  return Vec::Load(static_cast<const float*>(header) + (kVectors + vector) * Vec::kLanes);
}
template <int kVectors>
MVF_INLINE const float* OffsetOf(const void* header, int vector) {
  return static_cast<const float*>(header) + (2 * kVectors + vector) * Vec::kLanes;
}

struct ByteDestination {
  uint8_t* data;
  int64_t stride;
  const uint8_t* residual;
  int64_t residual_stride;
  float residual_multiplier;
};

// To rows of bytes.
template <bool kTable, bool kResidual>
struct BytesEpilogue {
  ByteDestination to;
  const uint8_t* table;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(IntVec (&sum)[kRows][kVectors], const void* header, int64_t row, int64_t column,
                             int last_lanes) const {
    Requantize(sum, header, row, column, last_lanes);
    uint8_t* const out = to.data + row * to.stride + column;
    if (last_lanes == Vec::kLanes) {
      StoreFrom<true, 0>(sum, out, last_lanes);
    } else {
      StoreFrom<false, 0>(sum, out, last_lanes);
    }
  }

 private:
  template <int kRows, int kVectors>
  MVF_INLINE void Requantize(IntVec (&sum)[kRows][kVectors], const void* header, int64_t row, int64_t column,
                             int last_lanes) const {
    [[maybe_unused]] const Vec scale = Vec::Set(to.residual_multiplier);
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const Vec multiplier = MultiplierOf<kVectors>(header, j);
      const float* const offset = OffsetOf<kVectors>(header, j);
      [[maybe_unused]] const uint8_t* residual =
          kResidual ? to.residual + row * to.residual_stride + column + Vec::kLanes * j : nullptr;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        Vec value = FusedMulAdd(ToFloat(sum[i][j]), multiplier, offset);
        if constexpr (kResidual) {
          const bool whole = j < kVectors - 1 || last_lanes == Vec::kLanes;
          value =
              FusedMulAdd(whole ? Vec::Load(residual) : Vec::LoadPartial(residual, last_lanes), scale, value);
          residual += to.residual_stride;
        }
        sum[i][j] = Round(value);
      }
    }
  }

  // The tile's vectors from kAt on, four at a time: a vector of bytes may hold the end of one row and the
  // beginning of the next.
  template <bool kWhole, int kAt, int kRows, int kVectors>
  MVF_INLINE void StoreFrom(IntVec (&sum)[kRows][kVectors], uint8_t* out, int last_lanes) const {
    constexpr int kLast = kRows * kVectors - 1;
    const auto at = [&](int i) {
      return i <= kLast ? sum[i / kVectors][i % kVectors] : sum[kRows - 1][kVectors - 1];
    };
    ByteVec bytes = ByteVec::Pack(at(kAt), at(kAt + 1), at(kAt + 2), at(kAt + 3));
    if constexpr (kTable) bytes = ByteTable(table)(bytes);
    out = StoreRun<kWhole, kAt, 0, kRows, kVectors>(bytes, out, last_lanes);
    if constexpr (kAt + 4 <= kLast) StoreFrom<kWhole, kAt + 4>(sum, out, last_lanes);
  }

  // The quarters from kQuarter on, row by row. Returns where the next row, or the rest of this one, goes.
  template <bool kWhole, int kAt, int kQuarter, int kRows, int kVectors>
  MVF_INLINE uint8_t* StoreRun(const ByteVec& bytes, uint8_t* out, int last_lanes) const {
    constexpr int kVector = (kAt + kQuarter) % kVectors;
    constexpr int kRun = kVectors - kVector < 4 - kQuarter ? kVectors - kVector : 4 - kQuarter;
    constexpr bool kRowEnds = kVector + kRun == kVectors;
    uint8_t* const start = out + kVector * Vec::kLanes;
    if constexpr (kWhole || !kRowEnds) {
      bytes.template StoreQuarters<kQuarter, kRun>(start);
    } else {
      if constexpr (kRun > 1) bytes.template StoreQuarters<kQuarter, kRun - 1>(start);
      bytes.template StorePartial<kQuarter + kRun - 1>(start + (kRun - 1) * Vec::kLanes, last_lanes);
    }
    if constexpr (kRowEnds) {
      // One pointer that walks down the rows: GCC would otherwise compute each row's address from the first.
      out += to.stride;
      asm("" : "+r"(out));
    }
    if constexpr (kQuarter + kRun < 4 && kAt + kQuarter + kRun < kRows * kVectors) {
      return StoreRun<kWhole, kAt, kQuarter + kRun, kRows, kVectors>(bytes, out, last_lanes);
    }
    return out;
  }
};

// multiply(epilogue) with the epilogue that packed weights ask for.
template <class Multiply>
MVF_INLINE void MultiplyToBytes(const PackedEpilogue& packed, const ByteDestination& to, Multiply multiply) {
  if (packed.has_table) {
    multiply(BytesEpilogue<true, false>{to, packed.table});
  } else {
    multiply(BytesEpilogue<false, false>{to, nullptr});
  }
}

// Rows whose quantisation is their own: the sums of row m are over bytes with the zero point zero[m], and
// count scale[m] each.
struct DynamicRows {
  const float* scale = nullptr;  // null: the zero point is in the bias, the
                                 // scale in the multiplier
  const int32_t* zero = nullptr;
  const int32_t* column_sums = nullptr;  // of weights, padded to whole panels
};

template <bool kDynamic>
MVF_INLINE IntVec WithoutZero(IntVec sum, const DynamicRows& rows, int64_t row, int64_t column) {
  if constexpr (!kDynamic) return sum;
  return Sub(sum, Mul(IntVec::Set(rows.zero[row]), IntVec::Load(rows.column_sums + column)));
}

// To rows of floats.
template <bool kDynamic>
struct FloatEpilogue {
  Destination<float> to;  // residual: or null
  Activation activation;
  DynamicRows rows;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(IntVec (&sum)[kRows][kVectors], const void* header, int64_t row, int64_t column,
                             int last_lanes) const {
    float* out = to.data + row * to.stride + column;
    const float* residual = to.residual ? to.residual + row * to.residual_stride + column : nullptr;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Vec multiplier = MultiplierOf<kVectors>(header, j);
        if constexpr (kDynamic) multiplier = Mul(multiplier, Vec::Set(rows.scale[row + i]));
        const IntVec exact = WithoutZero<kDynamic>(sum[i][j], rows, row + i, column + j * Vec::kLanes);
        Vec value = FusedMulAdd(ToFloat(exact), multiplier, OffsetOf<kVectors>(header, j));
        if (activation == Activation::kSilu) value = Silu(value);
        const int64_t c = j * Vec::kLanes;
        if (j < kVectors - 1 || last_lanes == Vec::kLanes) {
          if (residual) value = Add(value, Vec::Load(residual + c));
          value.Store(out + c);
        } else {
          if (residual) value = Add(value, Vec::LoadPartial(residual + c, last_lanes));
          value.StorePartial(out + c, last_lanes);
        }
      }
      out += to.stride;
      if (residual) residual += to.residual_stride;
    }
  }
};

// The sums themselves.
template <bool kDynamic>
struct SumsEpilogue {
  int32_t* data;
  int64_t stride;
  DynamicRows rows;

  template <int kRows, int kVectors>
  MVF_INLINE void operator()(IntVec (&sum)[kRows][kVectors], const void*, int64_t row, int64_t column,
                             int last_lanes) const {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kVectors; ++j) {
        const int64_t c = column + j * Vec::kLanes;
        const IntVec exact = WithoutZero<kDynamic>(sum[i][j], rows, row + i, c);
        int32_t* out = data + (row + i) * stride + c;
        if (j < kVectors - 1 || last_lanes == Vec::kLanes) {
          exact.Store(out);
        } else {
          exact.StorePartial(out, last_lanes);
        }
      }
    }
  }
};

}  // namespace
}  // namespace mvf
