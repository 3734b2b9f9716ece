// mobilevit_fast.h: what it answers, what it refuses, and that no file whatever makes it crash.
#include <cctype>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "c_api/mobilevit_fast.h"
#include "check.h"
#include "sample_file.h"

namespace {

using mvf_test::SafetensorsOf;
using mvf_test::SampleModelFile;

struct Free {
  void operator()(mvf_model* model) const { mvf_free(model); }
};
using Model = std::unique_ptr<mvf_model, Free>;

mvf_status Load(const std::string& bytes, Model& model, const char* isa = "scalar", int threads = 1) {
  mvf_options options = MVF_OPTIONS_INIT;
  options.threads = threads;
  options.isa = isa;
  // In memory of its own, so that the sanitizer sees a byte too many.
  const std::vector<char> content(bytes.begin(), bytes.end());
  mvf_model* loaded = nullptr;
  const mvf_status status =
      mvf_load_memory(content.data() ? content.data() : "", content.size(), &options, &loaded);
  model.reset(loaded);
  return status;
}

// Whatever was loaded must run, too.
void LoadAndRun(const std::string& bytes) {
  Model model;
  if (Load(bytes, model) != MVF_OK) {
    CHECK(model == nullptr);
    CHECK(std::strlen(mvf_error()) > 0);
    return;
  }
  std::vector<float> logits(static_cast<size_t>(mvf_class_count(model.get())));
  const std::vector<uint8_t> image(7 * 5 * 3, 200);
  const mvf_status status = mvf_run_rgb(model.get(), image.data(), 7, 5, 0, logits.data(), logits.size());
  CHECK(status == MVF_OK || status == MVF_INVALID_ARGUMENT || status == MVF_OUT_OF_MEMORY);
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  CHECK(at != std::string::npos);
  text.replace(at, from.size(), to);
  // The header's length.
  const auto grown = static_cast<int64_t>(to.size()) - static_cast<int64_t>(from.size());
  uint64_t length = 0;
  std::memcpy(&length, text.data(), sizeof(length));
  length += static_cast<uint64_t>(grown);
  std::memcpy(text.data(), &length, sizeof(length));
  return text;
}

void CheckRefused(const std::string& bytes, const char* words) {
  Model model;
  CHECK_EQUAL(static_cast<int>(Load(bytes, model)), static_cast<int>(MVF_INVALID_FILE));
  if (std::string(mvf_error()).find(words) == std::string::npos) {
    mvf_test::Fail(__FILE__, __LINE__,
                   std::string("it said \"") + mvf_error() + "\", without \"" + words + "\"");
  }
}

}  // namespace

TEST(model_file, answers) {
  Model model;
  CHECK_EQUAL(static_cast<int>(Load(SampleModelFile(), model)), static_cast<int>(MVF_OK));
  CHECK_EQUAL(mvf_class_count(model.get()), 2);
  CHECK_EQUAL(std::string(mvf_label(model.get(), 1)), "dark");
  CHECK(mvf_label(model.get(), 2) == nullptr);
  CHECK_EQUAL(mvf_input_height(model.get()), 8);
  CHECK_EQUAL(std::string(mvf_channel_order(model.get())), "BGR");
  CHECK_EQUAL(std::string(mvf_precision(model.get())), "fp32");

  const std::vector<uint8_t> image(20 * 10 * 3, 255);
  float logits[2] = {};
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), image.data(), 20, 10, 0, logits, 2)), 0);
  // White, but for the padding: 27 products of 0.1 in the middle, 12 in the corner, 18 at the edges.
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const double expected = (9 * silu(2.8) + 6 * silu(1.9) + silu(1.3)) / 16;
  CHECK(std::fabs(logits[0] - expected) < 1e-5);
  CHECK(std::fabs(logits[0] + logits[1]) < 1e-6);

  const std::vector<float> pixels(2 * 3 * 8 * 8, 1.0f);
  float both[4] = {};
  CHECK_EQUAL(static_cast<int>(mvf_run(model.get(), pixels.data(), 2, 8, 8, both, 4)), 0);
  CHECK(both[0] == logits[0] && both[2] == logits[0]);
}

TEST(model_file, refuses_arguments) {
  Model model;
  CHECK_EQUAL(static_cast<int>(Load(SampleModelFile(), model, "no_such_isa")),
              static_cast<int>(MVF_INVALID_ARGUMENT));
  CHECK_EQUAL(static_cast<int>(Load(SampleModelFile(), model, nullptr, -1)),
              static_cast<int>(MVF_INVALID_ARGUMENT));
  CHECK_EQUAL(static_cast<int>(Load(SampleModelFile(), model)), static_cast<int>(MVF_OK));
  const std::vector<uint8_t> image(300, 0);
  float logits[2] = {};
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), image.data(), 10, 10, 29, logits, 2)), 1);
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), image.data(), 10, 10, 30, logits, 1)), 1);
  CHECK(std::string(mvf_error()).find("room for 1 floats") != std::string::npos);
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), image.data(), 0, 10, 0, logits, 2)), 1);
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), image.data(), int64_t{1} << 40, 1, 0, logits, 2)), 1);
  CHECK_EQUAL(static_cast<int>(mvf_run_rgb(model.get(), nullptr, 10, 10, 0, logits, 2)), 1);
  CHECK_EQUAL(static_cast<int>(mvf_run(model.get(), nullptr, 1, 8, 8, logits, 2)), 1);
  mvf_model* none = nullptr;
  CHECK_EQUAL(static_cast<int>(mvf_load("no/such/file", nullptr, &none)), static_cast<int>(MVF_INVALID_FILE));
  CHECK_EQUAL(static_cast<int>(mvf_load("/", nullptr, &none)), static_cast<int>(MVF_INVALID_FILE));
  CHECK_EQUAL(static_cast<int>(mvf_load(nullptr, nullptr, &none)), static_cast<int>(MVF_INVALID_ARGUMENT));
}

TEST(model_file, names_what_is_wrong) {
  const std::string file = SampleModelFile();
  CheckRefused("", "too few for a header");
  CheckRefused(std::string(8, '\xff'), "claims");
  CheckRefused(SafetensorsOf("{", ""), "not JSON");
  CheckRefused(SafetensorsOf("{}", ""), "no entry 'mobilevit_fast'");
  CheckRefused(SafetensorsOf(R"({"a":1,"a":1})", ""), "names a key twice");
  CheckRefused(SafetensorsOf(R"({"a\u0000b":1})", ""), "a tensor's name holds the character 0");
  CheckRefused(SafetensorsOf(R"({"__metadata__":{"a\u0000b":"x"}})", ""), "a key of its metadata holds");
  std::string deep;
  for (int i = 0; i < 1 << 20; ++i) deep += R"({"a":)";
  CheckRefused(SafetensorsOf(deep, ""), "nested deeper");
  CheckRefused(SafetensorsOf(std::string(1 << 20, '['), ""), "nested deeper");
  CheckRefused(file + "x", "its tensors take 480 bytes, the file has 481");
  CheckRefused(file.substr(0, file.size() - 1), "the file has 479");
  CheckRefused(Replaced(file, "[432,448]", "[416,432]"), "starts at byte");
  CheckRefused(Replaced(file, "[432,448]", "[432,449]"), "its offsets give 17");
  CheckRefused(Replaced(file, "[4,3,3,3]", "[4,3,3,99999999999,99999999999]"), "impossible shape");
  CheckRefused(Replaced(file, "\"F32\"", "\"F99\""), "has type 'F99'");
  CheckRefused(Replaced(file, "\\\"stem.bias\\\"", "\\\"stem.blue\\\""), "which the file does not have");
  CheckRefused(Replaced(file, "\\\"bias\\\":\\\"stem.bias\\\"", "\\\"bias\\\":null"),
               "unexpected tensor 'stem.bias'");
  CheckRefused(Replaced(file, "\\\"input\\\":0", "\\\"input\\\":7"), "tensor");
  CheckRefused(Replaced(file, "\\\"outputs\\\":[2]", "\\\"outputs\\\":[9]"), "output");
  CheckRefused(Replaced(file, "\\\"outputs\\\":[2]", "\\\"outputs\\\":[0]"), "labels");
  CheckRefused(Replaced(file, "\\\"in\\\":3,", "\\\"in\\\":2147483647,"), "stem");
  CheckRefused(Replaced(file, "\\\"rescale\\\":0.00392156862745098", "\\\"rescale\\\":1e300"), "finite");
  CheckRefused(Replaced(file, "\\\"native\\\"", "\\\"tensor\\\""), "format native");
  std::string not_finite = file;
  const float nan = std::nanf("");
  std::memcpy(&not_finite[not_finite.size() - 480], &nan, sizeof(nan));
  CheckRefused(not_finite, "not finite");
}

TEST(model_file, survives_truncation) {
  const std::string file = SampleModelFile();
  for (size_t size = 0; size < file.size(); ++size) LoadAndRun(file.substr(0, size));
}

TEST(model_file, survives_flipped_bits) {
  const std::string file = SampleModelFile();
  for (size_t byte = 0; byte < file.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = file;
      changed[byte] = static_cast<char>(changed[byte] ^ 1 << bit);
      LoadAndRun(changed);
    }
  }
}

TEST(model_file, survives_changed_numbers) {
  const std::string file = SampleModelFile();
  for (const char* number :
       {"0", "-1", "1", "65536", "2147483647", "9223372036854775807", "1e30", "[]", "null"}) {
    for (size_t at = 8; at + 480 < file.size(); ++at) {
      const bool starts = std::isdigit(file[at]) && !std::isdigit(file[at - 1]);
      if (!starts) continue;
      size_t end = at;
      while (std::isdigit(file[end])) ++end;
      const std::string header = file.substr(8, at - 8) + number + file.substr(end, file.size() - 480 - end);
      LoadAndRun(SafetensorsOf(header, file.substr(file.size() - 480)));
    }
  }
}
