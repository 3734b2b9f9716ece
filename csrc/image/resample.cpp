// Pillow's Image.resize: a pass over the columns, then one over the rows, bytes in between.
#include "image/resample.h"

#include <algorithm>

namespace mvf {
namespace {

constexpr int64_t kChannels = 3;
// A pixel is read and written as four bytes. What is put behind it the next one overwrites.
constexpr int64_t kPixelAtOnce = 4;
constexpr int64_t kRowAtOnce = 16;

WeightedEdge Weigh(const std::vector<Taps>& all) {
  WeightedEdge edge;
  size_t pairs = 0;
  for (const Taps& taps : all) pairs += (taps.weights.size() + 1) / 2;
  edge.pairs.reserve(pairs);  // or they would move away from the outputs
  edge.outputs.reserve(all.size());
  for (const Taps& taps : all) {
    const size_t count = taps.weights.size();
    edge.outputs.push_back({taps.first, static_cast<int64_t>(count), edge.pairs.data() + edge.pairs.size()});
    for (size_t t = 0; t < count; t += 2) {
      edge.pairs.push_back(FastSums::Pair(taps.weights[t], t + 1 < count ? taps.weights[t + 1] : 0));
    }
  }
  return edge;
}

// kBytes bytes of output; inputs are `step` bytes apart.
template <int kBytes>
void WeighBytes(const WeightedInputs& weights, const uint8_t* input, int64_t step, uint8_t* out) {
  FastSums::Sums<kBytes> sums;
  const WeightPair* pair = weights.pairs;
  int64_t t = 0;
  for (; t + 2 <= weights.count; t += 2, input += 2 * step) sums.Add(input, input + step, *pair++);
  if (t < weights.count) sums.Add(input, input, *pair);
  sums.Store(out);
}

}  // namespace

ResizedRows::Order ResizedRows::OrderOf(ImageSize from, ImageSize to) {
  const bool height = from.height != to.height, width = from.width != to.width;
  if (height && width) return BeginsWithHeight(from, to) ? Order::kHeightFirst : Order::kWidthFirst;
  return height ? Order::kHeight : width ? Order::kWidth : Order::kNeither;
}

ResizedRows::ResizedRows(const RgbImage& image, ImageSize size, Filter filter, const Window& window)
    : image_(image),
      end_(ImageRow(image.size.height - 1) + image.size.width * image.pixel_bytes),
      window_(window),
      order_(OrderOf(image.size, size)) {
  const bool copies_pixels = order_ == Order::kNeither || order_ == Order::kHeight;
  pixel_bytes_ = copies_pixels ? image.pixel_bytes : kChannels;
  row_bytes_ = window.size.width * pixel_bytes_;
  out_.resize(static_cast<size_t>(row_bytes_ + 1));
  if (image.size.width != size.width) {
    const std::vector<Taps> taps =
        TapsOf(image.size.width, size.width, filter, window.left, window.size.width);
    columns_ = Weigh(taps);
    if (order_ == Order::kHeightFirst) {
      const Extent needed = InputsOf(taps);
      low_left_ = needed.first;
      low_.resize(static_cast<size_t>(needed.count * image.pixel_bytes + 1));
    }
  }
  if (image.size.height != size.height) {
    const std::vector<Taps> taps =
        TapsOf(image.size.height, size.height, filter, window.top, window.size.height);
    rows_ = Weigh(taps);
  }
  if (order_ == Order::kWidthFirst) {
    int64_t most = 1;
    for (const WeightedInputs& row : rows_.outputs) most = std::max(most, row.count);
    narrow_room_ = 2 * most;  // then rows move to the front once for as many new ones
    narrow_.resize(static_cast<size_t>(narrow_room_ * row_bytes_ + 1));
  }
}

const uint8_t* ResizedRows::Next() {
  const int64_t index = next_++, y = window_.top + index;
  switch (order_) {
    case Order::kNeither:
      return ImageRow(y) + window_.left * image_.pixel_bytes;
    case Order::kWidth:
      ResizeWidth(ImageRow(y), 0, end_, out_.data());
      break;
    case Order::kHeight: {
      const WeightedInputs& weights = rows_.outputs[static_cast<size_t>(index)];
      WeighRows(weights, ImageRow(weights.first) + window_.left * image_.pixel_bytes, image_.row_bytes,
                row_bytes_, out_.data());
      break;
    }
    case Order::kWidthFirst: {
      const WeightedInputs& weights = rows_.outputs[static_cast<size_t>(index)];
      WeighRows(weights, NarrowRows(weights), row_bytes_, row_bytes_, out_.data());
      break;
    }
    case Order::kHeightFirst: {
      const WeightedInputs& weights = rows_.outputs[static_cast<size_t>(index)];
      WeighRows(weights, ImageRow(weights.first) + low_left_ * image_.pixel_bytes, image_.row_bytes,
                static_cast<int64_t>(low_.size()) - 1, low_.data());
      ResizeWidth(low_.data(), low_left_, low_.data() + low_.size(), out_.data());
      break;
    }
  }
  return out_.data();
}

void ResizedRows::ResizeWidth(const uint8_t* pixels, int64_t left, const uint8_t* end, uint8_t* out) const {
  const int64_t step = image_.pixel_bytes;
  for (const WeightedInputs& column : columns_.outputs) {
    const uint8_t* const input = pixels + (column.first - left) * step;
    const int64_t needed = (column.count - 1) * step + kPixelAtOnce;
    if (end - input >= needed) {
      WeighBytes<kPixelAtOnce>(column, input, step, out);
    } else {
      std::vector<uint8_t> copy(input, end);
      copy.resize(static_cast<size_t>(std::max(needed, kPixelAtOnce)));
      WeighBytes<kPixelAtOnce>(column, copy.data(), step, out);
    }
    out += kChannels;
  }
}

// The last bytes of a row are summed up with what stands before them.
void ResizedRows::WeighRows(const WeightedInputs& weights, const uint8_t* first, int64_t step, int64_t bytes,
                            uint8_t* out) {
  if (bytes < kRowAtOnce) {
    uint8_t few[kRowAtOnce];
    std::vector<uint8_t> copy(static_cast<size_t>(std::max<int64_t>(weights.count, 1) * kRowAtOnce));
    for (int64_t t = 0; t < weights.count; ++t) {
      std::copy_n(first + t * step, bytes, copy.data() + t * kRowAtOnce);
    }
    WeighBytes<kRowAtOnce>(weights, copy.data(), kRowAtOnce, few);
    std::copy_n(few, bytes, out);
    return;
  }
  for (int64_t x = 0; x < bytes; x += kRowAtOnce) {
    const int64_t at = std::min(x, bytes - kRowAtOnce);
    WeighBytes<kRowAtOnce>(weights, first + at, step, out + at);
  }
}

const uint8_t* ResizedRows::NarrowRows(const WeightedInputs& weights) {
  const int64_t end = weights.first + weights.count;
  const auto at = [&](int64_t y) { return narrow_.data() + (y - narrow_first_) * row_bytes_; };
  if (narrow_end_ <= weights.first) {
    narrow_first_ = narrow_end_ = weights.first;
  } else if (end > narrow_first_ + narrow_room_) {
    std::copy(at(weights.first), at(narrow_end_), narrow_.data());
    narrow_first_ = weights.first;
  }
  for (; narrow_end_ < end; ++narrow_end_) ResizeWidth(ImageRow(narrow_end_), 0, end_, at(narrow_end_));
  return at(weights.first);
}

}  // namespace mvf
