/* Labels for a photograph, by the C library alone:
 *
 *   mobilevit-fast export mobilevit_xxs.cifar10 --format native -o model.safetensors
 *   djpeg -ppm cat.jpg > cat.ppm        (any tool that writes binary PPM, 8 bits a channel)
 *   ./classify model.safetensors cat.ppm
 */
#include <math.h>
#include <mobilevit_fast.h>
#include <stdio.h>
#include <stdlib.h>

/* RGB bytes of a binary PPM without comments, to be freed; NULL where the file is none. */
static unsigned char* read_ppm(const char* path, long* width, long* height) {
  FILE* file = fopen(path, "rb");
  unsigned char* rgb = NULL;
  if (file == NULL) return NULL;
  if (fscanf(file, "P6 %ld %ld 255", width, height) == 2 && fgetc(file) != EOF && *width > 0 && *height > 0 &&
      *width <= 32768 && *height <= 32768) {
    size_t size = (size_t)*width * (size_t)*height * 3;
    rgb = malloc(size);
    if (rgb != NULL && fread(rgb, 1, size, file) != size) {
      free(rgb);
      rgb = NULL;
    }
  }
  fclose(file);
  return rgb;
}

static int fail(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return fail(argv[0], "give a model file and a photograph as binary PPM");
  mvf_model* model = NULL;
  if (mvf_load(argv[1], NULL, &model) != MVF_OK) return fail(argv[1], mvf_error());

  long width = 0, height = 0;
  unsigned char* rgb = read_ppm(argv[2], &width, &height);
  if (rgb == NULL) return fail(argv[2], "cannot be read as binary PPM of 8 bits a channel");

  const int32_t classes = mvf_class_count(model);
  float* logits = malloc((size_t)classes * sizeof(float));
  if (logits == NULL) return fail(argv[0], "not enough memory");
  if (mvf_run_rgb(model, rgb, width, height, 0, logits, (size_t)classes) != MVF_OK) {
    return fail(argv[2], mvf_error());
  }

  float sum = 0, largest = logits[0];
  for (int32_t i = 0; i < classes; ++i) largest = fmaxf(largest, logits[i]);
  for (int32_t i = 0; i < classes; ++i) sum += expf(logits[i] - largest);
  printf("%s on %s, %d threads\n", mvf_precision(model), mvf_isa(model), (int)mvf_threads(model));
  for (int32_t i = 0; i < classes; ++i) {
    printf("%-12s %10.6f %5.1f%%\n", mvf_label(model, i), logits[i], 100 * expf(logits[i] - largest) / sum);
  }
  free(logits);
  free(rgb);
  mvf_free(model);
  return 0;
}
