// As much of the ESP32's Arduino core as the snippet on the page uses, to be compiled against.
#pragma once
#include <string>

class String {
 public:
  String(const char *) {}
  explicit String(float) {}
};
inline String operator+(const String &left, const String &) { return left; }

struct Port {
  void begin(unsigned long) {}
  void println(int) {}
};
inline Port Serial;
inline void delay(unsigned long) {}
