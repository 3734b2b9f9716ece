#include "model_file/model_file.h"

#include <stdexcept>

#include "engine/data_map.h"
#include "engine/plan_reader.h"

namespace mvf {
namespace {

constexpr char kMetadataKey[] = "mobilevit_fast";
constexpr int64_t kMaxEdge = 8192;  // as Python's Preprocessing allows

template <size_t count>
size_t Choice(DataMap& reader, const char* key, const char* const (&names)[count]) {
  const std::string value = reader.String(key);
  std::string known;
  for (size_t i = 0; i < count; ++i) {
    if (value == names[i]) return i;
    known += (i ? ", " : "") + std::string(names[i]);
  }
  throw std::invalid_argument(reader.NameOf(key) + " is '" + value.substr(0, 100) + "'; expected one of " +
                              known);
}

// {0, 0} where there is none.
ImageSize ReadSize(DataMap& reader, const char* key) {
  const std::unique_ptr<DataValue> value = reader.Optional(key);
  if (!value) return {};
  const auto edges = value->List(reader.NameOf(key));
  if (edges.size() != 2) throw std::invalid_argument(reader.NameOf(key) + " must be [height, width]");
  return {edges[0]->Int(reader.NameOf(key), 1, kMaxEdge), edges[1]->Int(reader.NameOf(key), 1, kMaxEdge)};
}

// Whether the three numbers are there.
bool ReadTriple(DataMap& reader, const char* key, std::array<float, 3>& numbers) {
  const std::unique_ptr<DataValue> value = reader.Optional(key);
  if (!value) return false;
  const auto items = value->List(reader.NameOf(key));
  if (items.size() != numbers.size())
    throw std::invalid_argument(reader.NameOf(key) + " must be three numbers");
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = items[i]->Float(reader.NameOf(key));
  return true;
}

ImageRule ReadRule(DataMap reader) {
  ImageRule rule;
  rule.shortest_edge = reader.Int("shortest_edge", 1, kMaxEdge, 0);
  rule.exact_size = ReadSize(reader, "exact_size");
  if (rule.shortest_edge > 0 && rule.exact_size.height > 0) {
    throw std::invalid_argument(reader.where() + ": shortest_edge and exact_size exclude each other");
  }
  rule.crop_size = ReadSize(reader, "crop_size");
  rule.crop_to_even = Choice(reader, "crop_rounding", {"down", "even"}) == 1;
  rule.filter = static_cast<Filter>(
      Choice(reader, "resample", {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}));
  rule.bgr = Choice(reader, "channel_order", {"RGB", "BGR"}) == 1;
  rule.rescale = reader.Float("rescale");
  rule.normalize = ReadTriple(reader, "mean", rule.mean);
  if (ReadTriple(reader, "std", rule.deviation) != rule.normalize) {
    throw std::invalid_argument(reader.where() + ": mean and std come together");
  }
  for (float deviation : rule.deviation) {
    if (rule.normalize && deviation == 0)
      throw std::invalid_argument(reader.NameOf("std") + " must not be 0");
  }
  reader.Finish();
  return rule;
}

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
