// stb_image's JPEG decoder, in a unit of its own: it is built with -fwrapv, for damaged files overflow its arithmetic.
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#include <stb_image.h>
