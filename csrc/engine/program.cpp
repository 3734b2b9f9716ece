#include "engine/program.h"

#include <algorithm>
#include <climits>
#include <stdexcept>

#include "base/memory.h"
#include "engine/arena.h"
#include "kernels/int8_kernels.h"

namespace mvf {
namespace {

struct Size {
  int64_t height;
  int64_t width;
};

bool operator==(const Size& a, const Size& b) { return a.height == b.height && a.width == b.width; }

std::string ToString(const Size& size) {
  return std::to_string(size.height) + "x" + std::to_string(size.width);
}

Size SizeOf(const TensorPlace& place) { return {place.height, place.width}; }

Size Strided(Size size, int64_t stride) {
  return {(size.height - 1) / stride + 1, (size.width - 1) / stride + 1};
}

int64_t NextMultiple(int64_t value, int64_t of) { return (value + of - 1) / of * of; }

class Builder {
 public:
  Builder(const Plan& plan, DType element, int64_t height, int64_t width) : plan_(plan), element_(element) {
    program_.height = height;
    program_.width = width;
    program_.tensors.resize(plan.tensors.size());
    program_.skipped.assign(plan.steps.size(), false);
  }

  Program Build() {
    for (step_ = 0; step_ < plan_.steps.size(); ++step_) InferOutput(plan_.steps[step_]);
    FindLastUses();
    FindBlocks();
    Place();
    return std::move(program_);
  }

 private:
  [[noreturn]] void Fail(const std::string& problem) const {
    throw std::invalid_argument("an image of " + ToString({program_.height, program_.width}) +
                                " does not fit " + Describe(plan_, step_) + ": " + problem);
  }

  Size SizeOfTensor(int tensor) const { return SizeOf(program_.tensors[tensor]); }

  void SetOutput(int tensor, Size size) {
    TensorPlace& place = program_.tensors[tensor];
    place.height = size.height;
    place.width = size.width;
    const size_t pixels = CheckedProduct(static_cast<size_t>(size.height), static_cast<size_t>(size.width));
    const PlanTensor& planned = plan_.tensors[tensor];
    place.bytes = CheckedProduct(CheckedProduct(pixels, static_cast<size_t>(planned.channels)),
                                 SizeOfElement(planned.type));
    program_.naive_bytes = CheckedSum(program_.naive_bytes, RoundUp(place.bytes, kCacheLine));
  }

  size_t SizeOfElement(TensorType type) const {
    if (type == TensorType::kBytes) return sizeof(uint8_t);
    return type == TensorType::kFloat ? sizeof(float) : mvf::SizeOf(element_);
  }

  void InferOutput(const Step& step) {
    switch (step.kind) {
      case StepKind::kStem:
        return SetOutput(step.output, Strided({program_.height, program_.width}, step.conv.stride));
      case StepKind::kInt8Stem:
        return SetOutput(step.output, Strided({program_.height, program_.width}, step.int8_conv.stride));
      case StepKind::kInvertedResidual:
        return SetOutput(step.output, Strided(SizeOfTensor(step.input), step.inverted_residual.stride));
      case StepKind::kInt8InvertedResidual:
        return SetOutput(step.output, Strided(SizeOfTensor(step.input), step.int8_inverted_residual.stride));
      case StepKind::kConv3x3:
      case StepKind::kInt8Conv3x3: {
        if (step.second_input != -1) RequireSameSize(step.input, step.second_input, "concatenated");
        const int64_t stride = step.kind == StepKind::kConv3x3 ? step.conv.stride : step.int8_conv.stride;
        return SetOutput(step.output, Strided(SizeOfTensor(step.input), stride));
      }
      case StepKind::kLinear:
      case StepKind::kInt8Linear: {
        if (step.residual != -1) RequireSameSize(step.input, step.residual, "added");
        if (step.output == step.residual) return;
        return SetOutput(step.output, SizeOfTensor(step.input));
      }
      case StepKind::kFfn:
      case StepKind::kInt8Ffn:
        return;
      case StepKind::kAttention:
      case StepKind::kInt8Attention: {
        const Size size = SizeOfTensor(step.input);
        if (size.height % step.patch_height != 0 || size.width % step.patch_width != 0) {
          Fail("patches of " + ToString({step.patch_height, step.patch_width}) +
               " do not divide its map of " + ToString(size) + "; put a resize_to_patch step before it");
        }
        const int64_t tokens = size.height / step.patch_height * (size.width / step.patch_width);
        if (step.kind == StepKind::kInt8Attention && tokens > kMaxInt8Tokens) {
          Fail("its " + std::to_string(tokens) + " tokens may overflow a sum of 32 bits; at most " +
               std::to_string(kMaxInt8Tokens));
        }
        return SetOutput(step.output, size);
      }
      case StepKind::kLayerNorm:
      case StepKind::kInt8LayerNorm:
      case StepKind::kQuantize:
      case StepKind::kDequantize:
        return SetOutput(step.output, SizeOfTensor(step.input));
      case StepKind::kResizeToPatch: {
        const Size size = SizeOfTensor(step.input);
        return SetOutput(step.output, {NextMultiple(size.height, step.patch_height),
                                       NextMultiple(size.width, step.patch_width)});
      }
      case StepKind::kResizeLike:
        return SetOutput(step.output, SizeOfTensor(step.like));
      case StepKind::kGlobalPool:
      case StepKind::kInt8GlobalPool:
        return SetOutput(step.output, {1, 1});
    }
  }

  void RequireSameSize(int a, int b, const char* what) const {
    if (SizeOfTensor(a) == SizeOfTensor(b)) return;
    Fail("maps of " + ToString(SizeOfTensor(a)) + " and " + ToString(SizeOfTensor(b)) + " cannot be " + what);
  }

  void FindLastUses() {
    last_use_.assign(plan_.tensors.size(), -1);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      const int at = static_cast<int>(i);
      last_use_[step.output] = at;
      for (int read : ReadBy(step)) {
        if (read != -1) last_use_[read] = at;
      }
    }
    for (int output : plan_.outputs) last_use_[output] = INT_MAX;
  }

  // Whether this step may write over `source`: nobody reads that memory later, under whichever of its names.
  bool DiesHere(int source, int step) const { return blocks_[block_of_[source]].last <= step; }

  // Gives each tensor a block of memory: its own, or that of an input that ends where it begins.
  void FindBlocks() {
    block_of_.assign(plan_.tensors.size(), -1);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& step = plan_.steps[i];
      const int at = static_cast<int>(i);
      if (block_of_[step.output] != -1) continue;
      const int source = SharedSource(step, at);
      if (source != -1) {
        block_of_[step.output] = block_of_[source];
        Lifetime& block = blocks_[block_of_[source]];
        block.last = std::max(block.last, last_use_[step.output]);
      } else {
        block_of_[step.output] = static_cast<int>(blocks_.size());
        blocks_.push_back({program_.tensors[step.output].bytes, at, last_use_[step.output]});
      }
    }
  }

  // The input whose memory the step's output takes over, or -1.
  int SharedSource(const Step& step, int at) {
    const bool is_linear = step.kind == StepKind::kLinear || step.kind == StepKind::kInt8Linear;
    if (is_linear && step.residual != -1) {
      const bool overwrites_input = block_of_[step.residual] == block_of_[step.input];
      return DiesHere(step.residual, at) && !overwrites_input ? step.residual : -1;
    }
    if (step.kind == StepKind::kResizeToPatch || step.kind == StepKind::kResizeLike) {
      if (!(SizeOfTensor(step.input) == SizeOfTensor(step.output)) || !DiesHere(step.input, at)) return -1;
      program_.skipped[at] = true;
      return step.input;
    }
    return -1;
  }

  void Place() {
    const ArenaLayout layout = PlaceInArena(blocks_);
    program_.arena_bytes = layout.bytes;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      if (block_of_[i] != -1) program_.tensors[i].offset = layout.offsets[block_of_[i]];
    }
  }

  const Plan& plan_;
  const DType element_;
  Program program_;
  size_t step_ = 0;
  std::vector<int> last_use_;
  std::vector<int> block_of_;  // for each tensor
  std::vector<Lifetime> blocks_;
};

}  // namespace

int64_t ElementsOf(const Plan& plan, const Program& program, int tensor) {
  const TensorPlace& place = program.tensors[tensor];
  return plan.tensors[tensor].channels * place.height * place.width;
}

Program BuildProgram(const Plan& plan, DType element, int64_t height, int64_t width) {
  return Builder(plan, element, height, width).Build();
}

}  // namespace mvf
