#include "model_file/model_file.h"

#include <stdexcept>

#include "engine/data_map.h"
#include "engine/plan_reader.h"
#include "model_file/rule_reader.h"

namespace mvf {
namespace {

constexpr char kMetadataKey[] = "mobilevit_fast";

}  // namespace

ModelFile ReadModelFile(const std::byte* data, size_t size) {
  ModelFile model;
  model.tensors = std::make_unique<Safetensors>(data, size);
  DataMap content(
      ParseJson(model.tensors->Metadata(kMetadataKey), "the model's description", model.tensors.get()),
      "model");
  if (!content.Optional("native")) {
    throw std::invalid_argument(
        "this checkpoint is not of format native; make one that is: mobilevit-fast export MODEL --format "
        "native");
  }
  content.Required("config");
  const auto labels = content.List("labels");
  for (const auto& label : labels) model.labels.push_back(label->String(content.NameOf("labels")));
  model.rule = ReadRule(content.Map("preprocessing"));
  DataMap native = content.Map("native");
  content.Finish();

  constexpr Precision kKernels[] = {Precision::kFp32, Precision::kBf16, Precision::kFp16, Precision::kInt8,
                                    Precision::kInt8};
  model.kernels = kKernels[Choice(native, "precision", {"fp32", "bf16", "fp16", "int8", "mixed"})];
  model.precision = native.String("precision");
  model.input_size = ReadSize(native, "input_size");
  if (model.input_size.height == 0) throw std::invalid_argument("the model has no input_size");
  model.plan = ReadPlan(native.Required("plan"));
  native.Finish();
  model.tensors->RequireAllUsed();

  if (model.plan.image_channels != 3) throw std::invalid_argument("the plan's images must have 3 channels");
  if (model.plan.outputs.size() != 1)
    throw std::invalid_argument("the plan must have one output, the logits");
  const auto output = static_cast<size_t>(model.plan.outputs[0]);
  if (output >= model.plan.tensors.size() ||
      model.plan.tensors[output].channels != static_cast<int64_t>(model.labels.size())) {
    throw std::invalid_argument("the plan's output does not have a channel for each of the " +
                                std::to_string(model.labels.size()) + " labels");
  }
  return model;
}

}  // namespace mvf
