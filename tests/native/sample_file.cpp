#include "sample_file.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace mvf_test {
namespace {

constexpr char kDescription[] = R"({"config":{},"labels":["light","dark"],"preprocessing":{"shortest_edge":9,
"exact_size":null,"crop_size":[8,8],"crop_rounding":"down","resample":"bilinear","channel_order":"BGR",
"rescale":0.00392156862745098,"mean":null,"std":null},"native":{"precision":"fp32","input_size":[8,8],"plan":{
"image_channels":3,"tensors":[{"channels":4,"type":"element"},{"channels":4,"type":"element"},
{"channels":2,"type":"float"}],"steps":[
{"kind":"stem","name":"stem","conv":{"in":3,"out":4,"stride":2,"activation":"silu"},
"conv_weights":{"weight":"stem.weight","bias":"stem.bias"},"output":0},
{"kind":"global_pool","name":"pool","input":0,"output":1},
{"kind":"linear","name":"classifier","input":1,"residual":-1,"output":2,
"linear":{"in":4,"out":2,"activation":"none","normalize":false,"epsilon":1e-05},
"linear_weights":{"weight":"classifier.weight","bias":null}}],"outputs":[2]}}})";

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    if (c == '"') escaped += '\\';
    if (c != '\n') escaped += c;
  }
  return escaped;
}

}  // namespace

std::string SafetensorsOf(const std::string& header, const std::string& data) {
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return length + header + data;
}

std::string SampleModelFile() {
  std::vector<float> numbers(4 * 27 + 4, 0.1f);  // the stem's weights and bias
  numbers.insert(numbers.end(), {0.25f, 0.25f, 0.25f, 0.25f, -0.25f, -0.25f, -0.25f, -0.25f});
  std::string data(numbers.size() * sizeof(float), '\0');
  std::memcpy(data.data(), numbers.data(), data.size());
  const std::string header = R"({"__metadata__":{"mobilevit_fast":")" + Escaped(kDescription) +
                             R"("},"stem.weight":{"dtype":"F32","shape":[4,3,3,3],"data_offsets":[0,432]},)" +
                             R"("stem.bias":{"dtype":"F32","shape":[4],"data_offsets":[432,448]},)" +
                             R"("classifier.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[448,480]}})";
  return SafetensorsOf(header, data);
}

}  // namespace mvf_test
