// Images of any sizes, on the host or on the device, into a batch of planes on the device: what
// image/prepare.h does, bit for bit.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "cuda/device.h"
#include "image/prepare.h"

namespace mvf {

struct Geometry;

// RGB bytes; strides in bytes, of any sign.
struct StridedImage {
  const uint8_t* data = nullptr;
  ImageSize size;
  int64_t row_stride = 0;
  int64_t pixel_stride = 0;
  int64_t channel_stride = 0;
  bool on_device = false;
};

// Safe to use from several threads and on several streams at once: calls share one buffer, and a call waits
// on the device for the one before it.
class Preparer {
 public:
  // A batch that needs a buffer of more than `most_bytes` is prepared in parts of an image at least: one for
  // all its photographs could outgrow the model. Throws OutOfMemory, cuda::CudaError.
  Preparer(const ImageRule& rule, int device, int64_t most_bytes = int64_t{256} << 20);
  ~Preparer();

  const ImageRule& rule() const { return rule_; }
  int device() const { return device_; }

  // Of the planes of all these images. Throws std::invalid_argument as PreparationOf does, and where there is
  // no image or the rule makes them differ in size.
  ImageSize SizeOf(const std::vector<StridedImage>& images) const;

  // Enqueues on `stream`; writes [images, 3, height, width] of SizeOf to `planes`, the device's, dense. Of
  // the host's images only the part that the crop needs is copied, which may be reused on return. Throws as
  // SizeOf does; std::invalid_argument while `stream` is being recorded, OutOfMemory, cuda::CudaError.
  void Run(const std::vector<StridedImage>& images, float* planes, cuda::Stream stream);

 private:
  void RunSome(const std::vector<StridedImage>& images, size_t begin, size_t end,
               const std::vector<const Geometry*>& geometries, ImageSize size, float* planes,
               cuda::Stream stream);

  const ImageRule rule_;
  const int device_;
  const int64_t most_bytes_;
  std::vector<float> values_;  // [3][256], of each byte in each plane

  std::mutex mutex_;  // guards what follows
  cuda::DeviceBuffer buffer_;
  std::vector<std::byte> staging_;
  std::unique_ptr<cuda::Event> done_;  // behind the latest call
};

}  // namespace mvf
