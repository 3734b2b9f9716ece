// As libImaging's Resample.c and, for the nearest pixel, Geometry.c choose and weigh them.
#include "image/taps.h"

#include <algorithm>
#include <cmath>

namespace mvf {
namespace {

constexpr int32_t kWhole = 1 << kWeightBits;
constexpr double kPi = 3.14159265358979323846;

double Box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double Bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double Hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= kPi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double Lanczos(double x) { return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel KernelOf(Filter filter) {
  switch (filter) {
    case Filter::kLanczos:
      return {Lanczos, 3.0};
    case Filter::kBicubic:
      return {Bicubic, 2.0};
    case Filter::kBox:
      return {Box, 0.5};
    case Filter::kHamming:
      return {Hamming, 1.0};
    default:
      return {Bilinear, 1.0};
  }
}

std::vector<Taps> Weighted(int64_t in, int64_t out, const Kernel& kernel, int64_t begin, int64_t count) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = kernel.support * stretch;
  const double step = 1.0 / stretch;
  std::vector<Taps> all(static_cast<size_t>(count));
  std::vector<double> weights;
  for (int64_t i = 0; i < count; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    // Casts round towards zero, as Pillow's do.
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + support + 0.5), in);
    weights.clear();
    double sum = 0.0;
    for (int64_t x = first; x < last; ++x) {
      weights.push_back(kernel.weight((static_cast<double>(x) - center + 0.5) * step));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(i)];
    taps.first = first;
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double scaled = weight * (1 << kWeightBits);
      taps.weights.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

// Pillow adds up positions, and their rounding with them: the last may lie beyond the edge.
std::vector<Taps> Nearest(int64_t in, int64_t out, int64_t begin, int64_t count) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<Taps> all(static_cast<size_t>(count));
  double position = step * 0.5;
  for (int64_t i = 0; i < begin; ++i) position += step;
  for (Taps& taps : all) {
    taps.first = std::min(static_cast<int64_t>(position), in);
    if (taps.first < in) taps.weights.push_back(kWhole);
    position += step;
  }
  return all;
}

}  // namespace

std::vector<Taps> TapsOf(int64_t in, int64_t out, Filter filter, int64_t begin, int64_t count) {
  if (in == out) {
    std::vector<Taps> all(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) all[static_cast<size_t>(i)] = {begin + i, {kWhole}};
    return all;
  }
  return filter == Filter::kNearest ? Nearest(in, out, begin, count)
                                    : Weighted(in, out, KernelOf(filter), begin, count);
}

Extent InputsOf(const std::vector<Taps>& taps) {
  const int64_t first = taps.front().first;
  return {first, taps.back().first + static_cast<int64_t>(taps.back().weights.size()) - first};
}

bool BeginsWithHeight(ImageSize from, ImageSize to) {
  return to.height < from.height && from.height - to.height > 2 * (from.width - to.width);
}

}  // namespace mvf
