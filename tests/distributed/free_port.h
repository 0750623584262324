// Ports for the servers of tests.
#ifndef SLUICE_TESTS_DISTRIBUTED_FREE_PORT_H_
#define SLUICE_TESTS_DISTRIBUTED_FREE_PORT_H_

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"

namespace sluice {

// A port that nobody listens at, below those that the system hands out, and kept from others who choose in this manner
// (python/sluice/distribute/launcher.py) until the process ends.
inline int FreePort() {
  static auto* random = new std::mt19937(std::random_device{}());
  while (true) {
    const int port = 10000 + static_cast<int>((*random)() % 22768);
    const int taken = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    const std::string text = absl::StrCat("sluice-port-", port);
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = bind(taken, reinterpret_cast<sockaddr*>(&name), size) == 0 &&
                      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (free) return port;  // `taken` stays
    close(taken);
  }
}

}  // namespace sluice

#endif  // SLUICE_TESTS_DISTRIBUTED_FREE_PORT_H_
