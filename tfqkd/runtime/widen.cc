// Widens a packed file of tfqkd to the TFLite file that it stands for, byte for byte; widening.py has the format.
//
// C++17, without dependencies: add this file to an app. From C and C++:
//
//   extern "C" size_t tfqkd_widened_size(const uint8_t* packed, size_t size);
//   extern "C" int tfqkd_widen(const uint8_t* packed, size_t size, uint8_t* out, size_t out_size);
//
//   size_t size = tfqkd_widened_size(packed, packed_size);    // 0: no packed file of this version
//   uint8_t* model = malloc(size);                            // 16-byte aligned, as TFLite wants it
//   if (!size || tfqkd_widen(packed, packed_size, model, size)) { /* damaged */ }
//   TfLiteModel* loaded = TfLiteModelCreate(model, size);     // and the C API of TFLite from there
//
// tfqkd_widen returns 0, or 1 if the file is damaged; it writes nothing beyond out_size.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

constexpr size_t kHeader = 20;
constexpr uint32_t kVersion = 1;

struct Reader {
  const uint8_t* next;
  const uint8_t* end;

  bool has(uint64_t count) const { return count <= static_cast<uint64_t>(end - next); }

  bool byte(uint8_t* value) {
    if (!has(1)) return false;
    *value = *next++;
    return true;
  }

  bool number(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 56; shift += 7) {
      uint8_t part;
      if (!byte(&part)) return false;
      *value |= static_cast<uint64_t>(part & 127) << shift;
      if (part < 128) return true;
    }
    return false;
  }
};

uint32_t word(const uint8_t* bytes) {
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

// IEEE 754 numbers are stored with the lowest byte first.
float number_at(const uint8_t* bytes) {
  const uint32_t bits = word(bytes);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void put_word(uint32_t value, uint8_t* bytes) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(value >> 8 * i);
}

void put_number(float value, uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  put_word(bits, bytes);
}

uint32_t checksum(const uint8_t* bytes, size_t size) {
  uint32_t table[256];
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t rest = i;
    for (int bit = 0; bit < 8; ++bit) rest = rest & 1 ? 0xEDB88320u ^ rest >> 1 : rest >> 1;
    table[i] = rest;
  }
  uint32_t value = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) value = table[(value ^ bytes[i]) & 255] ^ value >> 8;
  return ~value;
}

bool put_codes(Reader* reader, uint64_t count, uint8_t* out) {
  uint8_t bits;
  if (!reader->byte(&bits) || bits < 1 || bits > 7 || !reader->has(1u << bits)) return false;
  const uint8_t* table = reader->next;
  reader->next += 1u << bits;
  if (!reader->has((count * bits + 7) / 8)) return false;
  uint32_t window = 0;
  int held = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (held < bits) {
      window |= static_cast<uint32_t>(*reader->next++) << held;
      held += 8;
    }
    out[i] = table[window & ((1u << bits) - 1)];
    window >>= bits;
    held -= bits;
  }
  return true;
}

// Numbers of 16 bits: floats whose exponents are near each other, or integers of twelve digits.
bool put_halves(Reader* reader, uint64_t count, bool floats, uint8_t* out) {
  uint8_t least = 0;
  if (!reader->byte(&least) || (!floats && least > 12) || !reader->has(2 * count)) return false;
  for (uint64_t i = 0; i < count; ++i, reader->next += 2) {
    const uint32_t x = reader->next[0] | static_cast<uint32_t>(reader->next[1]) << 8;
    const uint32_t magnitude = (x & 4095) << ((floats ? 0 : least) + (x >> 12 & 7));
    const uint32_t integer = x >> 15 ? ~magnitude + 1 : magnitude;
    put_word(floats ? (least + (x >> 12)) << 23 | (x & 4095) << 11 : integer, out + 4 * i);
  }
  return true;
}

// Goes through all segments: first those that stand by themselves, then the products, which read these.
bool put_segments(Reader reader, uint32_t count, bool products, uint8_t* out, uint64_t size) {
  uint64_t place = 0;
  for (uint32_t i = 0; i < count; ++i) {
    uint8_t kind;
    uint64_t length;
    if (!reader.byte(&kind) || kind > 6 || !reader.number(&length)) return false;
    if (length > size) return false;
    const uint64_t made = kind >= 3 && kind <= 5 ? 4 * length : length;
    if (made > size - place) return false;
    if (kind == 0) {
      if (!reader.has(length)) return false;
      if (!products) std::memcpy(out + place, reader.next, length);
      reader.next += length;
    } else if (kind == 1) {
      if (!products) std::memset(out + place, 0, length);
    } else if (kind == 2) {
      if (!put_codes(&reader, length, out + place)) return false;
    } else if (kind == 4 || kind == 5) {
      if (!put_halves(&reader, length, kind == 4, out + place)) return false;
    } else if (kind == 6) {
      uint64_t distance;
      if (!reader.number(&distance) || !distance || distance > place) return false;
      for (uint64_t j = 0; !products && j < length; ++j)
        out[place + j] = out[place + j - distance];
    } else {
      uint64_t source;
      if (!reader.has(4)) return false;
      const float factor = number_at(reader.next);
      reader.next += 4;
      if (!reader.number(&source) || source > size || made > size - source) return false;
      for (uint64_t j = 0; products && j < length; ++j)
        put_number(number_at(out + source + 4 * j) * factor, out + place + 4 * j);
    }
    place += made;
  }
  return place == size;
}

}  // namespace

extern "C" size_t tfqkd_widened_size(const uint8_t* packed, size_t size) {
  if (size < kHeader || word(packed) != kVersion || std::memcmp(packed + 4, "TFQP", 4)) return 0;
  return word(packed + 8);
}

extern "C" int tfqkd_widen(const uint8_t* packed, size_t size, uint8_t* out, size_t out_size) {
  const size_t widened = tfqkd_widened_size(packed, size);
  if (!widened || out_size < widened) return 1;
  const Reader reader{packed + kHeader, packed + size};
  const uint32_t count = word(packed + 16);
  if (!put_segments(reader, count, false, out, widened)) return 1;
  if (!put_segments(reader, count, true, out, widened)) return 1;
  return checksum(out, widened) != word(packed + 12);
}
