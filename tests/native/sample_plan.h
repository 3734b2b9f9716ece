// A small network with every kind of step, and random weights that live as long as it does.
#pragma once

#include <deque>
#include <random>
#include <vector>

#include "engine/plan.h"

namespace mvf_test {

// Random floats in [-1, 1], never moved once made.
class RandomFloats {
 public:
  const float* Make(int64_t count) {
    std::vector<float>& floats = made_.emplace_back(static_cast<size_t>(count));
    for (float& value : floats) value = distribution_(generator_);
    return floats.data();
  }
  mvf::LinearWeights Linear(int64_t out, int64_t in) { return {Make(out * in), Make(out)}; }

 private:
  std::mt19937 generator_{1};
  std::uniform_real_distribution<float> distribution_{-1, 1};
  std::deque<std::vector<float>> made_;
};

struct SamplePlan {
  mvf::Plan plan;
  RandomFloats weights;

  // The step of that name.
  mvf::Step& step(const std::string& name);
};

// Outputs: a map, then a vector. Images have 3 channels.
SamplePlan MakeSamplePlan();

}  // namespace mvf_test
