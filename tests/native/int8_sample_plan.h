// A small network on bytes with every kind of step, and random weights that live as long as it does.
#pragma once

#include <deque>
#include <vector>

#include "engine/plan.h"
#include "plain_int8.h"

namespace mvf_test {

struct Int8Widths {
  int64_t stem = 16;
  int64_t expanded = 32;
  int64_t block = 24;
  int64_t heads = 4;
  int64_t dim = 64;
  int64_t hidden = 128;
  int64_t head = 96;
  int64_t classes = 10;
};

// Arrays that are never moved once made.
class Int8Arrays {
 public:
  mvf::Int8Weights Weights(int64_t out, int64_t in);
  // Of sums of `in` products; to bytes, where with_table is true by way of a table.
  mvf::Requantization ToBytes(int64_t out, int64_t in, bool with_table);
  mvf::Requantization ToFloats(int64_t out, int64_t in);
  const float* Floats(int64_t count, float low, float high);

 private:
  Random random_;
  std::deque<mvf_test::Weights> weights_;
  std::deque<std::vector<int32_t>> biases_;
  std::deque<PlainRequantization> requantizations_;
  std::deque<std::vector<float>> floats_;
};

struct Int8SamplePlan {
  mvf::Plan plan;
  Int8Arrays arrays;

  // The step of that name.
  mvf::Step& step(const std::string& name);
};

// Outputs: a map as floats, then a vector. Images have 3 channels.
Int8SamplePlan MakeInt8SamplePlan(const Int8Widths& widths);

}  // namespace mvf_test
