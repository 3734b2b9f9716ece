#include "cuda/preparer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/memory.h"
#include "cuda/cuda_error.h"
#include "cuda/geometry.h"
#include "cuda/prepare_jobs.h"

namespace mvf {
namespace {

using cuda::DeviceBuffer;
using cuda::DeviceScope;
using cuda::Stream;

constexpr int64_t kChannels = 3;
constexpr size_t kPlace = 16;

std::string ToString(ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

// The buffer on the device, and what is copied to its beginning while it is put together on the host.
class Layout {
 public:
  size_t Place(size_t bytes) {
    const size_t place = end_;
    end_ = RoundUp(CheckedSum(end_, bytes), kPlace);
    return place;
  }
  size_t end() const { return end_; }

 private:
  size_t end_ = 0;
};

// Where the taps of an edge lie.
struct TapPlaces {
  size_t ranges = 0;
  size_t weights = 0;
};

TapPlaces PlaceTaps(Layout& layout, const std::vector<Taps>& taps) {
  size_t weights = 0;
  for (const Taps& one : taps) weights += one.weights.size();
  return {layout.Place(taps.size() * sizeof(TapRange)), layout.Place(weights * sizeof(int32_t))};
}

// First inputs are counted from `origin` on.
void WriteTaps(const std::vector<Taps>& taps, int64_t origin, const TapPlaces& places, std::byte* staging) {
  int32_t written = 0;
  std::byte* range = staging + places.ranges;
  for (const Taps& one : taps) {
    const auto count = static_cast<int32_t>(one.weights.size());
    const TapRange value = {static_cast<int32_t>(one.first - origin), count, written};
    std::memcpy(range, &value, sizeof(value));
    range += sizeof(value);
    std::memcpy(staging + places.weights + static_cast<size_t>(written) * sizeof(int32_t), one.weights.data(),
                one.weights.size() * sizeof(int32_t));
    written += count;
  }
}

const uint8_t* RegionOf(const StridedImage& image, const Geometry& geometry) {
  return image.data + geometry.rows.first * image.row_stride + geometry.columns.first * image.pixel_stride;
}

// Dense.
void CopyRegion(const StridedImage& image, const Geometry& geometry, std::byte* to) {
  const uint8_t* row = RegionOf(image, geometry);
  const int64_t width = geometry.columns.count;
  const bool is_dense = image.pixel_stride == kChannels && image.channel_stride == 1;
  for (int64_t y = 0; y < geometry.rows.count; ++y, to += width * kChannels) {
    const uint8_t* from = row + y * image.row_stride;
    if (is_dense) {
      std::memcpy(to, from, static_cast<size_t>(width * kChannels));
      continue;
    }
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < kChannels; ++c) {
        to[x * kChannels + c] =
            static_cast<std::byte>(from[x * image.pixel_stride + c * image.channel_stride]);
      }
    }
  }
}

// Its input is set apart.
ResamplePass PassOf(bool over_rows, const TapPlaces& rows, const TapPlaces& columns, const std::byte* buffer,
                    ImageSize output) {
  const TapPlaces& places = over_rows ? rows : columns;
  ResamplePass pass = {};
  pass.taps = reinterpret_cast<const TapRange*>(buffer + places.ranges);
  pass.weights = reinterpret_cast<const int32_t*>(buffer + places.weights);
  pass.height = static_cast<int32_t>(output.height);
  pass.width = static_cast<int32_t>(output.width);
  pass.over_rows = over_rows;
  return pass;
}

void SetInput(ResamplePass& pass, const uint8_t* input, int64_t row, int64_t pixel, int64_t channel) {
  pass.input = input;
  pass.row_stride = row;
  pass.pixel_stride = pixel;
  pass.channel_stride = channel;
}

// What an image adds to the buffer.
int64_t BytesOf(const StridedImage& image, const Geometry& geometry) {
  return (image.on_device ? 0 : geometry.region_bytes()) + geometry.between_pixels() * kChannels;
}

}  // namespace

Preparer::Preparer(const ImageRule& rule, int device, int64_t most_bytes)
    : rule_(rule), device_(device), most_bytes_(most_bytes) {
  for (int64_t plane = 0; plane < kChannels; ++plane) {
    const PlaneValues values = PlaneValuesOf(rule, plane);
    values_.insert(values_.end(), values.begin(), values.end());
  }
  const DeviceScope scope(device_);
  done_ = std::make_unique<cuda::Event>();
}

// What runs still uses the memory that goes.
Preparer::~Preparer() {
  try {
    done_->Synchronize();
  } catch (const cuda::CudaError&) {
    // The device has failed, or is being shut down with the process: nothing runs there any more.
  }
}

ImageSize Preparer::SizeOf(const std::vector<StridedImage>& images) const {
  if (images.empty()) throw std::invalid_argument("no images were given");
  const ImageSize size = PreparedSize(rule_, images[0].size);
  for (const StridedImage& image : images) {
    const ImageSize other = PreparedSize(rule_, image.size);
    if (other == size) continue;
    throw std::invalid_argument(
        "this rule does not crop, and images of different sizes cannot form a batch: " + ToString(size) +
        " and " + ToString(other));
  }
  return size;
}

void Preparer::Run(const std::vector<StridedImage>& images, float* planes, Stream stream) {
  const ImageSize size = SizeOf(images);
  const DeviceScope scope(device_);
  if (cuda::IsCapturing(stream)) {
    throw std::invalid_argument(
        "images cannot be prepared while the stream is being recorded: what is copied for them would be "
        "repeated; record run() on prepared ones");
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  done_->MakeWait(stream);
  std::map<std::pair<int64_t, int64_t>, Geometry> known;
  std::vector<const Geometry*> geometries;
  for (const StridedImage& image : images) {
    const std::pair<int64_t, int64_t> key(image.size.height, image.size.width);
    auto found = known.find(key);
    if (found == known.end()) found = known.emplace(key, Geometry(rule_, image.size)).first;
    geometries.push_back(&found->second);
  }
  for (size_t begin = 0; begin < images.size();) {
    size_t end = begin;
    int64_t bytes = 0;
    do {
      bytes += BytesOf(images[end], *geometries[end]);
      ++end;
    } while (end < images.size() && bytes + BytesOf(images[end], *geometries[end]) <= most_bytes_);
    RunSome(images, begin, end, geometries, size, planes, stream);
    done_->Record(stream);
    planes += static_cast<int64_t>(end - begin) * kChannels * size.height * size.width;
    begin = end;
  }
}

void Preparer::RunSome(const std::vector<StridedImage>& images, size_t begin, size_t end,
                       const std::vector<const Geometry*>& geometries, ImageSize size, float* planes,
                       Stream stream) {
  const size_t count = end - begin;
  std::map<const Geometry*, std::pair<TapPlaces, TapPlaces>> taps;
  std::vector<size_t> regions, betweens;  // places
  Layout layout;
  const size_t jobs_place = layout.Place(count * sizeof(PrepareJob));
  const size_t values_place = layout.Place(values_.size() * sizeof(float));
  for (size_t i = begin; i < end; ++i) {
    const Geometry& geometry = *geometries[i];
    if (taps.count(&geometry) == 0) {
      const TapPlaces rows = PlaceTaps(layout, geometry.row_taps);
      taps[&geometry] = {rows, PlaceTaps(layout, geometry.column_taps)};
    }
    regions.push_back(images[i].on_device ? 0 : layout.Place(static_cast<size_t>(geometry.region_bytes())));
  }
  const size_t uploaded = layout.end();
  for (size_t i = begin; i < end; ++i) {
    betweens.push_back(layout.Place(static_cast<size_t>(geometries[i]->between_pixels() * kChannels)));
  }

  if (layout.end() > buffer_.size()) {
    done_->Synchronize();
    buffer_ = DeviceBuffer();
    buffer_ = DeviceBuffer(layout.end(), "images to prepare");
  }
  if (staging_.size() < uploaded) staging_.resize(uploaded);
  std::byte* const staging = staging_.data();
  std::byte* const buffer = buffer_.data();
  std::memcpy(staging + values_place, values_.data(), values_.size() * sizeof(float));
  for (const auto& [geometry, places] : taps) {
    WriteTaps(geometry->row_taps, geometry->rows.first, places.first, staging);
    WriteTaps(geometry->column_taps, geometry->columns.first, places.second, staging);
  }
  int64_t first_blocks = 0;
  for (size_t i = 0; i < count; ++i) {
    const StridedImage& image = images[begin + i];
    const Geometry& geometry = *geometries[begin + i];
    const auto& [rows, columns] = taps[&geometry];
    PrepareJob job = {};
    job.first_block = first_blocks;
    job.top = static_cast<int32_t>(geometry.plan.top);
    job.left = static_cast<int32_t>(geometry.plan.left);
    job.second = PassOf(geometry.ends_with_rows, rows, columns, buffer, geometry.plan.seen.size);
    ResamplePass* reads_image = &job.second;
    if (geometry.two_passes) {
      job.first = PassOf(!geometry.ends_with_rows, rows, columns, buffer, geometry.between);
      job.between = reinterpret_cast<uint8_t*>(buffer + betweens[i]);
      SetInput(job.second, job.between, geometry.between.width * kChannels, kChannels, 1);
      first_blocks += FirstPassBlocks(geometry.between_pixels());
      reads_image = &job.first;
    }
    if (image.on_device) {
      SetInput(*reads_image, RegionOf(image, geometry), image.row_stride, image.pixel_stride,
               image.channel_stride);
    } else {
      CopyRegion(image, geometry, staging + regions[i]);
      SetInput(*reads_image, reinterpret_cast<uint8_t*>(buffer + regions[i]),
               geometry.columns.count * kChannels, kChannels, 1);
    }
    std::memcpy(staging + jobs_place + i * sizeof(job), &job, sizeof(job));
  }
  cuda::CopyToDevice(buffer, staging, uploaded, stream);

  PrepareBatch batch = {};
  batch.jobs = reinterpret_cast<const PrepareJob*>(buffer + jobs_place);
  batch.images = static_cast<int64_t>(count);
  batch.first_blocks = first_blocks;
  batch.values = reinterpret_cast<const float*>(buffer + values_place);
  batch.planes = planes;
  batch.height = size.height;
  batch.width = size.width;
  batch.bgr = rule_.bgr;
  CudaRun run;
  run.stream = stream;
  PrepareOnDevice(batch, run);
}

}  // namespace mvf
