#include "plain_attention.h"

#include <algorithm>
#include <cmath>

namespace mvf_test {
namespace {

using mvf::Map;
using mvf::Range;

// One head's tokens at one position of the patch.
template <class Args>
struct Head {
  const Args& args;
  int64_t position, head, dim, width, columns, tokens;

  Head(const Args& given, int64_t unit)
      : args(given),
        position(unit / args.heads),
        head(unit % args.heads),
        dim(args.qkv.channels / 3),
        width(dim / args.heads),
        columns(args.qkv.width / args.patch_width),
        tokens(args.qkv.height / args.patch_height * columns) {}

  float* At(const Map& map, int64_t token) const {
    return map.Pixel<float>(token / columns * args.patch_height + position / args.patch_width,
                            token % columns * args.patch_width + position % args.patch_width) +
           head * width;
  }
  const float* Query(int64_t token) const { return At(args.qkv, token); }
  const float* Key(int64_t token) const { return At(args.qkv, token) + dim; }
  const float* Value(int64_t token) const { return At(args.qkv, token) + 2 * dim; }

  double Dot(const float* a, const float* b) const {
    double sum = 0;
    for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(a[c]) * b[c];
    return sum;
  }

  // How much of each token's value goes into token t's output.
  std::vector<double> Weights(int64_t t) const {
    std::vector<double> weights;
    for (int64_t u = 0; u < tokens; ++u) {
      weights.push_back(Dot(Query(t), Key(u)) / std::sqrt(static_cast<double>(width)));
    }
    PlainSoftmax(weights);
    return weights;
  }
};

void AddTo(std::vector<double>& sums, int64_t row, double factor, const float* values, int64_t count) {
  for (int64_t c = 0; c < count; ++c) sums[static_cast<size_t>(row * count + c)] += factor * values[c];
}

}  // namespace

void PlainSoftmax(std::vector<double>& row) {
  const double highest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& value : row) sum += value = std::exp(value - highest);
  for (double& value : row) value /= sum;
}

void PlainAttention(const mvf::AttentionArgs& args, Range units, void*) {
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    const Head head(args, unit);
    for (int64_t t = 0; t < head.tokens; ++t) {
      const std::vector<double> weights = head.Weights(t);
      std::vector<double> sums(static_cast<size_t>(head.width), 0);
      for (int64_t u = 0; u < head.tokens; ++u) {
        AddTo(sums, 0, weights[static_cast<size_t>(u)], head.Value(u), head.width);
      }
      std::copy(sums.begin(), sums.end(), head.At(args.output, t));
    }
  }
}

void PlainAttentionBackward(const mvf::AttentionBackwardArgs& args, Range units, void*) {
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    const Head head(args, unit);
    const size_t size = static_cast<size_t>(head.tokens * head.width);
    std::vector<double> queries(size, 0), keys(size, 0), values(size, 0);
    for (int64_t t = 0; t < head.tokens; ++t) {
      const float* const upstream = head.At(args.upstream, t);
      const std::vector<double> weights = head.Weights(t);
      double mean = 0;
      for (int64_t u = 0; u < head.tokens; ++u) {
        mean += weights[static_cast<size_t>(u)] * head.Dot(upstream, head.Value(u));
      }
      for (int64_t u = 0; u < head.tokens; ++u) {
        const double weight = weights[static_cast<size_t>(u)];
        const double score =
            weight * (head.Dot(upstream, head.Value(u)) - mean) / std::sqrt(static_cast<double>(head.width));
        AddTo(queries, t, score, head.Key(u), head.width);
        AddTo(keys, u, score, head.Query(t), head.width);
        AddTo(values, u, weight, upstream, head.width);
      }
    }
    for (int64_t t = 0; t < head.tokens; ++t) {
      float* to = head.At(args.gradient, t);
      for (const std::vector<double>* part : {&queries, &keys, &values}) {
        std::copy_n(part->begin() + t * head.width, head.width, to);
        to += head.dim;
      }
    }
  }
}

}  // namespace mvf_test
