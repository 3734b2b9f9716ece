#include "model_file/rule_reader.h"

#include <stdexcept>

namespace mvf {
namespace {

constexpr int64_t kMaxRuleEdge = 8192;  // as Python's Preprocessing allows

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

}  // namespace

ImageSize ReadSize(DataMap& reader, const char* key) {
  const std::unique_ptr<DataValue> value = reader.Optional(key);
  if (!value) return {};
  const auto edges = value->List(reader.NameOf(key));
  if (edges.size() != 2) throw std::invalid_argument(reader.NameOf(key) + " must be [height, width]");
  return {edges[0]->Int(reader.NameOf(key), 1, kMaxRuleEdge),
          edges[1]->Int(reader.NameOf(key), 1, kMaxRuleEdge)};
}

ImageRule ReadRule(DataMap reader) {
  ImageRule rule;
  rule.shortest_edge = reader.Int("shortest_edge", 1, kMaxRuleEdge, 0);
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

}  // namespace mvf
