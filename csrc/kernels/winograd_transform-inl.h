// The one-dimensional transforms of Winograd's F(2, 3) and F(4, 3): y = A^T ((G g) * (B^T d)). Lavin and
// Gray, "Fast Algorithms for Convolutional Neural Networks". A step is the distance between neighbours in its
// array.
#pragma once

namespace mvf {
namespace {

template <int kTile>
struct Winograd;

// Points 0, 1, -1 and infinity.
template <>
struct Winograd<2> {
  static constexpr int kSide = 4;

  template <int kFrom, int kTo>
  static MVF_INLINE void Input(const Vec* d, Vec* out) {
    out[0] = Sub(d[0], d[2 * kFrom]);
    out[kTo] = Add(d[kFrom], d[2 * kFrom]);
    out[2 * kTo] = Sub(d[2 * kFrom], d[kFrom]);
    out[3 * kTo] = Sub(d[kFrom], d[3 * kFrom]);
  }
  template <int kFrom, int kTo>
  static MVF_INLINE void Output(const Vec* m, Vec* out) {
    out[0] = Add(m[0], Add(m[kFrom], m[2 * kFrom]));
    out[kTo] = Sub(Sub(m[kFrom], m[2 * kFrom]), m[3 * kFrom]);
  }
  static void Weight(double g0, double g1, double g2, double* out, int step) {
    out[0] = g0;
    out[step] = 0.5 * (g0 + g1 + g2);
    out[2 * step] = 0.5 * (g0 - g1 + g2);
    out[3 * step] = g2;
  }
};

// Points 0, a, -a, b, -b and infinity with a = sqrt(1/2) and b = sqrt(2). The usual 1 and 2 err four times as
// much: these keep the powers within [0.35, 2.83], and their product is 1, which saves multiplications.
template <>
struct Winograd<4> {
  static constexpr int kSide = 6;
  static constexpr double kA = 0.70710678118654752440;
  static constexpr double kB = 1.41421356237309504880;

  template <int kFrom, int kTo>
  static MVF_INLINE void Input(const Vec* d, Vec* out) {
    const Vec d1 = d[kFrom], d2 = d[2 * kFrom], d3 = d[3 * kFrom], d4 = d[4 * kFrom];
    const Vec a = Vec::Set(static_cast<float>(kA)), b = Vec::Set(static_cast<float>(kB));
    const Vec half = Vec::Set(0.5f), two = Vec::Set(2.0f), both = Vec::Set(2.5f);  // a^2, b^2 and their sum
    const Vec even_a = NegMulAdd(two, d2, d4), odd_a = NegMulAdd(two, d1, d3);
    const Vec even_b = NegMulAdd(half, d2, d4), odd_b = NegMulAdd(half, d1, d3);
    out[0] = Add(NegMulAdd(both, d2, d4), d[0]);
    out[kTo] = MulAdd(a, odd_a, even_a);
    out[2 * kTo] = NegMulAdd(a, odd_a, even_a);
    out[3 * kTo] = MulAdd(b, odd_b, even_b);
    out[4 * kTo] = NegMulAdd(b, odd_b, even_b);
    out[5 * kTo] = Add(NegMulAdd(both, d3, d1), d[5 * kFrom]);
  }
  template <int kFrom, int kTo>
  static MVF_INLINE void Output(const Vec* m, Vec* out) {
    const Vec a = Vec::Set(static_cast<float>(kA)), b = Vec::Set(static_cast<float>(kB));
    const Vec a3 = Vec::Set(static_cast<float>(kA / 2)), b3 = Vec::Set(static_cast<float>(kB * 2));
    const Vec sum_a = Add(m[kFrom], m[2 * kFrom]), difference_a = Sub(m[kFrom], m[2 * kFrom]);
    const Vec sum_b = Add(m[3 * kFrom], m[4 * kFrom]), difference_b = Sub(m[3 * kFrom], m[4 * kFrom]);
    out[0] = Add(m[0], Add(sum_a, sum_b));
    out[kTo] = MulAdd(a, difference_a, Mul(b, difference_b));
    out[2 * kTo] = MulAdd(Vec::Set(2.0f), sum_b, Mul(Vec::Set(0.5f), sum_a));
    out[3 * kTo] = MulAdd(a3, difference_a, MulAdd(b3, difference_b, m[5 * kFrom]));
  }
  static void Weight(double g0, double g1, double g2, double* out, int step) {
    const double even_a = -2.0 / 3.0 * (g0 + 0.5 * g2), odd_a = -2.0 / 3.0 * kA * g1;
    const double even_b = 1.0 / 6.0 * (g0 + 2.0 * g2), odd_b = 1.0 / 6.0 * kB * g1;
    out[0] = g0;
    out[step] = even_a + odd_a;
    out[2 * step] = even_a - odd_a;
    out[3 * step] = even_b + odd_b;
    out[4 * step] = even_b - odd_b;
    out[5 * step] = g2;
  }
};

}  // namespace
}  // namespace mvf
