// Between bytes and floats, and what is done to maps of bytes without weights.
#pragma once

namespace mvf {
namespace {

template <class Args>
size_t NoScratch(const Args&) {
  return 0;
}

inline void QuantizeRun(const QuantizeArgs& args, Range rows, void*) {
  const RowMoments none = {Vec::Zero(), Vec::Set(1.0f)};
  const Quantizer quantizer = Quantizer::Of(args.scale, args.zero);
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    QuantizeRow(args.values + m * args.values_stride, args.channels, none, quantizer,
                args.bytes + m * args.bytes_stride);
  }
}

inline void DequantizeRun(const QuantizeArgs& args, Range rows, void*) {
  const Vec scale = Vec::Set(args.scale), zero = Vec::Set(static_cast<float>(args.zero));
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const uint8_t* from = args.bytes + m * args.bytes_stride;
    float* to = args.values + m * args.values_stride;
    ForEachVector(0, args.channels, [&](int64_t c, auto lanes) {
      lanes.Store(Mul(Sub(lanes.Load(from + c), zero), scale), to + c);
    });
  }
}

inline void Int8LayerNormRun(const Int8LayerNormArgs& args, Range rows, void*) {
  const LayerNormArgs& norm = args.norm;
  const Quantizer quantizer = Quantizer::Of(args.scale, args.zero);
  for (int64_t m = rows.begin; m < rows.end; ++m) {
    const float* from = norm.input + m * norm.input_stride;
    uint8_t* to = static_cast<uint8_t*>(norm.output) + m * norm.output_stride;
    const RowMoments moments = Moments(from, norm.channels, norm.epsilon);
    StoreQuantized(
        norm.channels, quantizer, to, [&](int64_t c, auto lanes) __attribute__((always_inline)) {
          const Vec x = Normalized(lanes.Load(from + c), moments);
          return MulAdd(x, lanes.Load(norm.gamma + c), lanes.Load(norm.beta + c));
        });
  }
}

inline void Int8ResizeRun(const ResizeArgs& args, Range rows, void*) {
  ResizeRows<uint8_t>(args.input, args.output, rows);
}

inline void Int8GlobalPoolRun(const Int8GlobalPoolArgs& args, Range channels, void*) {
  const float pixels = static_cast<float>(args.input.height * args.input.width);
  const Vec zero = Vec::Set(pixels * static_cast<float>(args.zero)), scale = Vec::Set(args.scale / pixels);
  ForEachVector(channels.begin, channels.end, [&](int64_t c, auto lanes) {
    lanes.Store(Mul(Sub(SumOverPixels<uint8_t>(args.input, c, lanes), zero), scale), args.output + c);
  });
}

}  // namespace
}  // namespace mvf
