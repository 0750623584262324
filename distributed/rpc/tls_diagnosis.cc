#include "distributed/rpc/tls_diagnosis.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace sluice {
namespace {

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

std::string ReadAll(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return std::string(text, static_cast<size_t>(size));
}

std::string DateText(const ASN1_TIME* time) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), BIO_free);
  return ASN1_TIME_print(bio.get(), time) == 1 ? ReadAll(bio.get()) : "an unreadable date";
}

std::string NameText(const X509_NAME* name) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), BIO_free);
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  return ReadAll(bio.get());
}

// The names that a certificate is made for.
std::string NamesOf(X509* certificate) {
  std::vector<std::string> names;
  auto* alternatives =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; alternatives != nullptr && i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* n = sk_GENERAL_NAME_value(alternatives, i);
    if (n->type == GEN_DNS) {
      names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(n->d.dNSName)),
                         static_cast<size_t>(ASN1_STRING_length(n->d.dNSName)));
    } else if (n->type == GEN_IPADD && ASN1_STRING_length(n->d.iPAddress) == 4) {
      const unsigned char* ip = ASN1_STRING_get0_data(n->d.iPAddress);
      names.push_back(absl::StrCat(ip[0], ".", ip[1], ".", ip[2], ".", ip[3]));
    }
  }
  if (alternatives != nullptr) GENERAL_NAMES_free(alternatives);
  return names.empty() ? NameText(X509_get_subject_name(certificate)) : absl::StrJoin(names, ", ");
}

// A connection, without waiting beyond `until`. -1 when there is none.
int Connect(const std::string& address, absl::Time until) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || absl::StartsWith(address, "unix:")) return -1;
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) return -1;
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return fd;
    pollfd p = {fd, POLLOUT, 0};
    const int wait = static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(until - absl::Now())));
    int error = 0;
    socklen_t size = sizeof(error);
    if (errno == EINPROGRESS && poll(&p, 1, wait) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
        error == 0) {
      return fd;
    }
    close(fd);
  }
  return -1;
}

struct Verdict {
  long error = X509_V_OK;  // the first
  std::string certificate, issuer, from, until;
};

int VerdictIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// Takes note of what is wrong and goes on, so that the peer's own complaints are heard as well.
int OnCertificate(int ok, X509_STORE_CTX* store) {
  if (ok == 1) return 1;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* verdict = static_cast<Verdict*>(SSL_get_ex_data(ssl, VerdictIndex()));
  if (verdict->error != X509_V_OK) return 1;
  verdict->error = X509_STORE_CTX_get_error(store);
  if (X509* bad = X509_STORE_CTX_get_current_cert(store)) {
    // The peer's own, but for dates: those are of the one that is over.
    X509* own = X509_STORE_CTX_get0_cert(store);
    const bool date = verdict->error == X509_V_ERR_CERT_HAS_EXPIRED || verdict->error == X509_V_ERR_CERT_NOT_YET_VALID;
    verdict->certificate = NameText(X509_get_subject_name(own != nullptr && !date ? own : bad));
    verdict->issuer = NameText(X509_get_issuer_name(bad));
    verdict->from = DateText(X509_get0_notBefore(bad));
    verdict->until = DateText(X509_get0_notAfter(bad));
  }
  return 1;
}

std::string Explain(const Verdict& v, const TlsSettings& settings) {
  switch (v.error) {
    case X509_V_OK:
      return "";
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return absl::StrCat("its certificate (", v.certificate, ") expired on ", v.until,
                          "; renew it, or check this machine's clock");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return absl::StrCat("its certificate (", v.certificate, ") is not valid before ", v.from,
                          "; check this machine's clock");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return absl::StrCat("its certificate (", v.certificate, ") was signed by ", v.issuer,
                          ", whom this task's root certificates do not name; add that authority to ", settings.root);
    default:
      return absl::StrCat("its certificate (", v.certificate,
                          ") is not accepted: ", X509_verify_cert_error_string(v.error));
  }
}

// What the peer said before it hung up; empty when it said nothing of certificates.
std::string ExplainAlert(unsigned long error, const GrpcOptions& options) {
  const TlsSettings& settings = options.settings;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "it says that this task's certificate has expired; renew it";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return absl::StrCat("it does not know the authority that signed this task's certificate; add that to ",
                          settings.peer_root);
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      // So Go's servers say that they wanted one.
      if (options.certificate.empty())
        return absl::StrCat("it wants a certificate of its callers; set ", settings.certificate);
      return absl::StrCat(
          "it does not accept this task's certificate (is it expired, or signed by an authority that is not in ",
          settings.peer_root, "?)");
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      if (!options.certificate.empty()) return "";
      ABSL_FALLTHROUGH_INTENDED;
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return absl::StrCat("it wants a certificate of its callers; set ", settings.certificate);
    default:
      return "";
  }
}

// While it lives this thread hears nothing of SIGPIPE: OpenSSL writes to a peer that may just have gone.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec now = {};
    while (!was_pending_ && sigtimedwait(&pipe_, nullptr, &now) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  bool was_pending_ = false;
  sigset_t pipe_, before_;
};

// Runs `step` until it neither wants to read nor to write; false when the time is over.
template <typename Step>
bool Drive(SSL* ssl, int fd, absl::Time until, int* result, const Step& step) {
  while (true) {
    ERR_clear_error();
    *result = step();
    const int wants = SSL_get_error(ssl, *result);
    if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return true;
    pollfd p = {fd, static_cast<short>(wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
    const int64_t wait = absl::ToInt64Milliseconds(until - absl::Now());
    if (wait <= 0 || poll(&p, 1, static_cast<int>(wait)) <= 0) return false;
  }
}

void Trust(SSL_CTX* context, const std::string& pem) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  while (X509* root = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root);
    X509_free(root);
  }
}

void Present(SSL_CTX* context, const GrpcOptions& options) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(
      BIO_new_mem_buf(options.certificate.data(), static_cast<int>(options.certificate.size())), BIO_free);
  std::unique_ptr<BIO, int (*)(BIO*)> key_bio(
      BIO_new_mem_buf(options.private_key.data(), static_cast<int>(options.private_key.size())), BIO_free);
  Owned<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (!certificate || !key) return;
  SSL_CTX_use_certificate(context, certificate.get());
  SSL_CTX_use_PrivateKey(context, key.get());
}

}  // namespace

std::string DiagnoseTls(const std::string& address, const GrpcOptions& options, absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  const bool tls = !options.root_certificates.empty();
  const TlsSettings& settings = options.settings;
  const int fd = Connect(address, until);
  if (fd < 0) return "";
  const NoSigpipe quiet;
  std::unique_ptr<const int, void (*)(const int*)> closer(&fd, [](const int* f) { close(*f); });
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (tls) Trust(context.get(), options.root_certificates);
  if (tls && !options.certificate.empty()) Present(context.get(), options);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, OnCertificate);
  Owned<SSL> ssl(SSL_new(context.get()), SSL_free);
  Verdict verdict;
  SSL_set_ex_data(ssl.get(), VerdictIndex(), &verdict);
  SSL_set_fd(ssl.get(), fd);
  const unsigned char protocols[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), protocols, sizeof(protocols));
  std::string host = options.server_name.empty() ? address.substr(0, address.rfind(':')) : options.server_name;
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  int result = 0;
  const bool ended = Drive(ssl.get(), fd, until, &result, [&] { return SSL_connect(ssl.get()); });
  const unsigned long error = ERR_peek_last_error();
  if (!tls) {
    if (result != 1) return "";
    return absl::StrCat("it speaks TLS and this task does not; set ", settings.root,
                        " to the file of its authority's certificate");
  }
  if (!ended) {
    return absl::StrCat("it does not answer to TLS; does it speak it? (set ", settings.peer_certificate, ", or unset ",
                        settings.root, " here)");
  }
  if (result != 1) {
    const std::string said = ExplainAlert(error, options);
    if (!said.empty()) return said;
    if (verdict.error != X509_V_OK) return Explain(verdict, settings);
    return absl::StrCat("it does not speak TLS, and this task does; set ", settings.peer_certificate, ", or unset ",
                        settings.root, " here");
  }
  if (verdict.error != X509_V_OK) return Explain(verdict, settings);
  Owned<X509> peer(SSL_get1_peer_certificate(ssl.get()), X509_free);
  if (peer && X509_check_host(peer.get(), host.c_str(), host.size(), 0, nullptr) != 1 &&
      X509_check_ip_asc(peer.get(), host.c_str(), 0) != 1) {
    return absl::StrCat("its certificate is for ", NamesOf(peer.get()), ", not for '", host,
                        "'; make one with that name, or call the task by the name it has");
  }
  // With TLS 1.3 a listener complains of our certificate only after the handshake, and gRPC's just hangs up. One that
  // is content sends its settings at once.
  char byte;
  if (Drive(ssl.get(), fd, std::min(until, absl::Now() + absl::Milliseconds(500)), &result,
            [&] { return SSL_read(ssl.get(), &byte, 1); }) &&
      result <= 0) {
    const std::string said = ExplainAlert(ERR_peek_last_error(), options);
    if (!said.empty()) return said;
    return options.certificate.empty()
               ? absl::StrCat("it hung up after the handshake: it wants a certificate of its callers; set ",
                              settings.certificate)
               : absl::StrCat(
                     "it hung up after the handshake: it does not accept this task's certificate (is it expired, or "
                     "signed by an authority that is not in ",
                     settings.peer_root, "?)");
  }
  return "";
}

}  // namespace sluice
