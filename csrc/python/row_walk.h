// The rows of arrays that share their leading shape, as runs of evenly spaced rows.
#pragma once

#include "python/arrays.h"

namespace mvf {

// Merges leading dimensions for as long as every array steps through them evenly; the innermost that is left
// is a run's rows, the others count the runs.
class RowWalk {
 public:
  // All of one leading shape; the last dimension of each is a row's own.
  explicit RowWalk(const std::vector<const Strided*>& arrays);

  int64_t runs() const { return runs_; }
  int64_t rows() const { return dims_.back().size; }
  int64_t row_stride(size_t array) const { return dims_.back().strides[array]; }
  // Of the run's first element from the array's.
  int64_t Offset(size_t array, int64_t run) const;

 private:
  struct Dim {
    int64_t size;
    std::vector<int64_t> strides;  // of each array
  };

  std::vector<Dim> dims_;
  int64_t runs_ = 1;
};

}  // namespace mvf
