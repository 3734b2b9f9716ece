/* mobilevit_fast: MobileViT image classifiers from C, without Python.
 *
 *   mvf_model* model;
 *   if (mvf_load("model.safetensors", NULL, &model) != MVF_OK) puts(mvf_error());
 *   float* logits = malloc(mvf_class_count(model) * sizeof(float));
 *   mvf_run_rgb(model, pixels, width, height, 0, logits, mvf_class_count(model));
 *   mvf_free(model);
 *
 * Model files come from `mobilevit-fast export MODEL --format native -o model.safetensors`. They hold
 * weights, plan, labels and preprocessing; the answers are those of Session in Python.
 *
 * Every function may be called from any thread, and one model may run in several threads at once; only
 * mvf_free must be the last call on its model. Functions that return mvf_status write their results only
 * where it is MVF_OK, and leave a message for mvf_error otherwise. No C++ exception leaves the library, and
 * no file and no argument that this header allows makes it read or write outside of what it was given. Later
 * versions keep these functions, their meaning and the layout of mvf_options' first fields.
 */
#ifndef MOBILEVIT_FAST_H_
#define MOBILEVIT_FAST_H_

#include <stddef.h>
#include <stdint.h>

#if defined(MVF_BUILDING_LIBRARY) && defined(_WIN32)
#define MVF_API __declspec(dllexport)
#elif defined(MVF_BUILDING_LIBRARY)
#define MVF_API __attribute__((visibility("default")))
#else
#define MVF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mvf_status {
  MVF_OK = 0,
  MVF_INVALID_ARGUMENT = 1, /* including an ISA or a precision that this CPU lacks */
  MVF_INVALID_FILE = 2,     /* missing, unreadable, damaged, or no model of format native */
  MVF_OUT_OF_MEMORY = 3,
  MVF_INTERNAL_ERROR = 4
} mvf_status;

/* A classifier with its weights packed for this CPU. */
typedef struct mvf_model mvf_model;

/* Start from MVF_OPTIONS_INIT, so that fields of later versions have their defaults. */
typedef struct mvf_options {
  size_t size;     /* sizeof(mvf_options), by which the library knows the caller's version */
  int threads;     /* that one call may use; 0: as many as this process has cores */
  const char* isa; /* name of the kernel table, such as "neon_dotprod"; NULL: the fastest that the CPU has */
} mvf_options;

#define MVF_OPTIONS_INIT \
  { sizeof(mvf_options), 0, NULL }

/* Version of the library: "1.2.3". */
MVF_API const char* mvf_version(void);

/* What went wrong in this thread's last call that failed; "" before any. Valid until its next failure. */
MVF_API const char* mvf_error(void);

/* Loads a model from a file, or from `size` bytes at `data`, which are not needed afterwards. `options` may
 * be NULL. The model goes to *model, to be freed with mvf_free. */
MVF_API mvf_status mvf_load(const char* path, const mvf_options* options, mvf_model** model);
MVF_API mvf_status mvf_load_memory(const void* data, size_t size, const mvf_options* options,
                                   mvf_model** model);

/* NULL is allowed. */
MVF_API void mvf_free(mvf_model* model);

/* Number of classes, that is of an image's logits. */
MVF_API int32_t mvf_class_count(const mvf_model* model);

/* Name of a class, UTF-8, valid as long as the model; NULL for an index from outside 0 to mvf_class_count
 * - 1. */
MVF_API const char* mvf_label(const mvf_model* model, int32_t index);

/* Size in pixels of the images that the model was made for. mvf_run takes others too. */
MVF_API int32_t mvf_input_height(const mvf_model* model);
MVF_API int32_t mvf_input_width(const mvf_model* model);

/* "RGB" or "BGR": the order of the planes that mvf_run takes. mvf_run_rgb always takes RGB. */
MVF_API const char* mvf_channel_order(const mvf_model* model);

/* "fp32", "bf16", "fp16", "int8" or "mixed"; the name of the kernel table that runs; and how many threads a
 * call may use. */
MVF_API const char* mvf_precision(const mvf_model* model);
MVF_API const char* mvf_isa(const mvf_model* model);
MVF_API int32_t mvf_threads(const mvf_model* model);

/* Logits of `count` preprocessed images: `pixels` is float [count, 3, height, width], dense, as
 * mvf_prepare_rgb makes it. Writes [count, classes] to `logits`, which has room for `capacity` floats. */
MVF_API mvf_status mvf_run(mvf_model* model, const float* pixels, int64_t count, int64_t height,
                           int64_t width, float* logits, size_t capacity);

/* Logits of one image of any size: 8-bit RGB pixels side by side, rows `row_bytes` apart, 0 for 3 * width. It
 * is resized, cropped and scaled as the model's checkpoint wants it, to the byte as Pillow does it.
 * Photographs must stand upright: an orientation in EXIF is for the caller to apply. */
MVF_API mvf_status mvf_run_rgb(mvf_model* model, const uint8_t* rgb, int64_t width, int64_t height,
                               int64_t row_bytes, float* logits, size_t capacity);

/* The two halves of mvf_run_rgb: the size that an image of width x height has when prepared, and the prepared
 * image, float [3, prepared height, prepared width], in `pixels`, which has room for `capacity` floats. */
MVF_API mvf_status mvf_prepared_size(const mvf_model* model, int64_t width, int64_t height,
                                     int64_t* prepared_width, int64_t* prepared_height);
MVF_API mvf_status mvf_prepare_rgb(const mvf_model* model, const uint8_t* rgb, int64_t width, int64_t height,
                                   int64_t row_bytes, float* pixels, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* MOBILEVIT_FAST_H_ */
