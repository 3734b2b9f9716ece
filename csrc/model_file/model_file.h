// A model of export format "native": a safetensors file whose metadata holds, as JSON under "mobilevit_fast",
//
//   {"config": ..., "labels": [str, ...], "preprocessing": {...},
//    "native": {"precision": str, "input_size": [height, width], "plan": {...}}}
//
// The plan is as engine/plan_reader.h describes it, tensors' names in place of arrays; it answers with
// logits. Preprocessing has the fields of Python's Preprocessing. The precision is "fp32", "bf16", "fp16",
// "int8", or "mixed" where some layers compute on bytes. The config is for Python.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/plan.h"
#include "image/rule.h"
#include "kernels/dispatch.h"
#include "model_file/safetensors.h"

namespace mvf {

struct ModelFile {
  std::unique_ptr<Safetensors> tensors;  // what the plan points into
  Plan plan;
  std::string precision;
  Precision kernels = Precision::kFp32;
  ImageSize input_size;
  ImageRule rule;
  std::vector<std::string> labels;
};

// `data` must outlive what is returned. Throws std::invalid_argument that says what is wrong with the file;
// the plan's structure is the engine's to check.
ModelFile ReadModelFile(const std::byte* data, size_t size);

}  // namespace mvf
