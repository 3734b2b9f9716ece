#include "engine/weights.h"

#include <algorithm>

namespace mvf {
namespace {

static_assert(kAlignment <= kCacheLine, "an AlignedBuffer must satisfy the kernels");

size_t RowBytes(int64_t channels) {
  return RoundUp(static_cast<size_t>(channels) * sizeof(float), kAlignment);
}

// Calls visit(packing, shape, weights) for a step on floats that has packed weights.
template <class Table, class Visit>
void VisitFloatPacking(const Step& step, const Table& table, Visit&& visit) {
  switch (step.kind) {
    case StepKind::kStem:
      return visit(table.stem_packing, step.conv, step.conv_weights);
    case StepKind::kConv3x3:
      return visit(table.conv3x3_packing, step.conv, step.conv_weights);
    case StepKind::kInvertedResidual:
      return visit(table.inverted_residual_packing, step.inverted_residual, step.inverted_residual_weights);
    case StepKind::kLinear:
      return visit(table.linear_packing, step.linear, step.linear_weights);
    case StepKind::kFfn:
      return visit(table.ffn_packing, step.ffn, step.ffn_weights);
    default:
      return;
  }
}

template <class Table, class Visit>
void VisitPacking(const Step& step, const Table& table, Visit&& visit) {
  switch (step.kind) {
    case StepKind::kInt8Stem:
      return visit(table.int8->stem_packing, step.int8_conv, step.int8_conv_weights);
    case StepKind::kInt8Conv3x3:
      return visit(table.int8->conv3x3_packing, step.int8_conv, step.int8_conv_weights);
    case StepKind::kInt8InvertedResidual:
      return visit(table.int8->inverted_residual_packing, step.int8_inverted_residual,
                   step.int8_inverted_residual_weights);
    case StepKind::kInt8Linear:
      return visit(table.int8->linear_packing, step.int8_linear, step.int8_linear_weights);
    case StepKind::kInt8Ffn:
      return visit(table.int8->ffn_packing, step.int8_ffn, step.int8_ffn_weights);
    default:
      return VisitFloatPacking(step, table, visit);
  }
}

bool IsLayerNorm(const Step& step) {
  return step.kind == StepKind::kLayerNorm || step.kind == StepKind::kInt8LayerNorm;
}

template <class Table>
size_t BytesOf(const Step& step, const Table& table, const Plan& plan) {
  if (IsLayerNorm(step)) return 2 * RowBytes(plan.tensors[step.input].channels);
  size_t bytes = 0;
  VisitPacking(step, table, [&](const auto& packing, const auto& shape, const auto&) {
    bytes = RoundUp(packing.packed_bytes(shape), kAlignment);
  });
  return bytes;
}

}  // namespace

void ForgetWeights(Plan& plan) {
  for (Step& step : plan.steps) {
    step.linear_weights = {};
    step.ffn_weights = {};
    step.conv_weights = {};
    step.inverted_residual_weights = {};
    step.gamma = step.beta = nullptr;
    step.int8_linear_weights = {};
    step.int8_ffn_weights = {};
    step.int8_conv_weights = {};
    step.int8_inverted_residual_weights = {};
  }
}

PackedWeights::PackedWeights(const Plan& plan, const KernelTable& table) : steps_(plan.steps.size()) {
  Pack(plan, table);
}

PackedWeights::PackedWeights(const Plan& plan, const CudaTable& table) : steps_(plan.steps.size()) {
  Pack(plan, table);
}

template <class Table>
void PackedWeights::Pack(const Plan& plan, const Table& table) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    steps_[i].bytes = BytesOf(plan.steps[i], table, plan);
    bytes_ = CheckedSum(bytes_, steps_[i].bytes);
  }
  buffer_.Reserve(bytes_, "packed weights");

  std::byte* place = buffer_.data();
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    if (IsLayerNorm(step)) {
      const int64_t channels = plan.tensors[step.input].channels;
      float* gamma = reinterpret_cast<float*>(place);
      float* beta = reinterpret_cast<float*>(place + RowBytes(channels));
      std::copy_n(step.gamma, channels, gamma);
      std::copy_n(step.beta, channels, beta);
      steps_[i].gamma = gamma;
      steps_[i].beta = beta;
    }
    VisitPacking(step, table, [&](const auto& packing, const auto& shape, const auto& weights) {
      packing.pack(shape, weights, place);
      steps_[i].packed = place;
    });
    place += steps_[i].bytes;
  }
}

void PackedWeights::MoveTo(const std::byte* copy) {
  const auto moved = [&](auto* place) -> decltype(place) {
    if (!place) return nullptr;
    const auto offset = reinterpret_cast<const std::byte*>(place) - buffer_.data();
    return reinterpret_cast<decltype(place)>(copy + offset);
  };
  for (StepWeights& step : steps_) {
    if (step.packed) step.packed = moved(static_cast<const std::byte*>(step.packed));
    step.gamma = moved(step.gamma);
    step.beta = moved(step.beta);
  }
  buffer_ = AlignedBuffer();
}

}  // namespace mvf
