// What the checks of all kinds of steps share: where a check stands in the plan, and how it complains.
#pragma once

#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/plan_check.h"

namespace mvf {

// Far above any network's, and small enough that products of two never overflow.
constexpr int64_t kMaxChannels = 1 << 20;
constexpr int64_t kMaxPatch = 1 << 10;

class StepChecker {
 public:
  explicit StepChecker(const Plan& plan)
      : plan_(plan),
        written_(plan.tensors.size(), false),
        facts_{std::vector<bool>(plan.tensors.size(), false)} {}

  const Plan& plan() const { return plan_; }
  const PlanFacts& facts() const { return facts_; }
  size_t step_index() const { return step_index_; }
  bool is_written(int tensor) const { return written_[tensor]; }
  bool is_vector(int tensor) const { return facts_.is_vector[tensor]; }
  int64_t ChannelsOf(int tensor) const { return plan_.tensors[tensor].channels; }
  TensorType TypeOf(int tensor) const { return plan_.tensors[tensor].type; }

  void Begin(size_t step) { step_index_ = step; }

  [[noreturn]] void Fail(const std::string& problem) const {
    throw std::invalid_argument(Describe(plan_, step_index_) + ": " + problem);
  }
  void Require(bool condition, const std::string& problem) const {
    if (!condition) Fail(problem);
  }

  const PlanTensor& Tensor(const char* role, int index) const {
    Require(index >= 0 && static_cast<size_t>(index) < plan_.tensors.size(),
            std::string(role) + " is tensor " + std::to_string(index) + ", and the plan has tensors 0 to " +
                std::to_string(static_cast<int64_t>(plan_.tensors.size()) - 1));
    return plan_.tensors[index];
  }

  void RequireChannels(const char* role, int index, int64_t channels) const {
    const int64_t has = ChannelsOf(index);
    Require(has == channels, std::string(role) + " (tensor " + std::to_string(index) + ") has " +
                                 std::to_string(has) + " channels; expected " + std::to_string(channels));
  }

  void RequireType(const char* role, int index, TensorType type) const {
    Require(TypeOf(index) == type,
            std::string(role) + " (tensor " + std::to_string(index) + ") must have type " + NameOf(type));
  }

  void RequireNoBytes(const char* role, int index) const {
    Require(TypeOf(index) != TensorType::kBytes,
            std::string(role) + " (tensor " + std::to_string(index) + ") must not have type bytes");
  }

  void CheckRead(const char* role, int index) const {
    Tensor(role, index);
    Require(written_[index],
            std::string(role) + " (tensor " + std::to_string(index) + ") is read before any step writes it");
  }

  void CheckMap(const char* role, int index) const {
    CheckRead(role, index);
    Require(!facts_.is_vector[index],
            std::string(role) + " (tensor " + std::to_string(index) + ") is a vector; this step needs a map");
  }

  void Write(int index, bool is_vector) {
    Tensor("output", index);
    Require(!written_[index], "tensor " + std::to_string(index) + " is written a second time");
    written_[index] = true;
    facts_.is_vector[index] = is_vector;
  }

  void CheckStride(int64_t stride) const {
    Require(stride == 1 || stride == 2, "stride is " + std::to_string(stride) + "; expected 1 or 2");
  }

  void CheckEpsilon(float epsilon) const {
    Require(std::isfinite(epsilon) && epsilon >= 0, "epsilon must be finite and not negative");
  }

  void CheckPatch(const Step& step) const {
    const bool fits = step.patch_height >= 1 && step.patch_height <= kMaxPatch && step.patch_width >= 1 &&
                      step.patch_width <= kMaxPatch;
    Require(fits, "patch is " + std::to_string(step.patch_height) + "x" + std::to_string(step.patch_width) +
                      "; expected sides of 1 to " + std::to_string(kMaxPatch));
  }

  // The input and the heads of an attention; returns the width of each of q, k and v.
  int64_t CheckQkv(const Step& step) const {
    CheckMap("input", step.input);
    CheckPatch(step);
    const int64_t channels = ChannelsOf(step.input);
    Require(channels % 3 == 0,
            "input has " + std::to_string(channels) + " channels; expected q, k and v of equal width");
    const int64_t dim = channels / 3;
    Require(step.heads >= 1 && dim % step.heads == 0,
            std::to_string(step.heads) + " heads do not divide " + std::to_string(dim) + " channels");
    return dim;
  }

  void RequireWeights(std::initializer_list<const void*> weights) const {
    for (const void* weight : weights) Require(weight != nullptr, "a weight is missing");
  }

 private:
  const Plan& plan_;
  size_t step_index_ = 0;
  std::vector<bool> written_;
  PlanFacts facts_;
};

}  // namespace mvf
