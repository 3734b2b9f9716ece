// The bytes of a small model file.
#pragma once

#include <string>

namespace mvf_test {

// A safetensors file of that header and data.
std::string SafetensorsOf(const std::string& header, const std::string& data);

// A stem, a pool and a classifier of two labels, "light" and "dark": its first logit is the mean of the
// stem's channels, its second less that.
std::string SampleModelFile();

}  // namespace mvf_test
