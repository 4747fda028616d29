#ifndef EAGLE_EXPONENTIAL_H
#define EAGLE_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>
#include "dispatch.h"

/// e^x for x <= 88, without branches so that loops over it vectorise; relative error below 2e-7, 0 below -87.3.
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to r^7; 2^n by the exponent bits.
EAGLE_INLINE float eagle_expf(float x) {
  float clamped = x < -87.3f ? -87.3f : x > 88.0f ? 88.0f : x;
  float n = __builtin_roundevenf(clamped * 1.44269504088896341f);
  float r = clamped - n * 0.693145751953125f;
  r = r - n * 1.42860682030941723e-6f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t bits = ((int32_t)n + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return x < -87.3f ? 0.0f : p * power;
}

#endif
