// Which passes an image of one size takes, and which part of it they read.
#pragma once

#include "image/prepare.h"
#include "image/taps.h"

namespace mvf {

// What all images of one size share.
struct Geometry {
  Geometry(const ImageRule& rule, ImageSize image)
      : plan(PreparationOf(rule, image)),
        row_taps(
            TapsOf(image.height, plan.resized.height, rule.filter, plan.seen.top, plan.seen.size.height)),
        column_taps(
            TapsOf(image.width, plan.resized.width, rule.filter, plan.seen.left, plan.seen.size.width)),
        rows(InputsOf(row_taps)),
        columns(InputsOf(column_taps)) {
    const bool resizes_width = plan.resized.width != image.width;
    two_passes = resizes_width && plan.resized.height != image.height;
    ends_with_rows = two_passes ? !BeginsWithHeight(image, plan.resized) : !resizes_width;
    if (two_passes) {
      between = ends_with_rows ? ImageSize{rows.count, plan.seen.size.width}
                               : ImageSize{plan.seen.size.height, columns.count};
    }
  }

  int64_t region_bytes() const { return rows.count * columns.count * 3; }
  int64_t between_pixels() const { return between.height * between.width; }

  Preparation plan;
  std::vector<Taps> row_taps, column_taps;
  Extent rows, columns;  // of the image, that are needed at all: its region
  bool two_passes = false;
  bool ends_with_rows = false;
  ImageSize between;  // of what the first of two passes writes
};

}  // namespace mvf
