#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "core/base/status.h"
#include "distributed/rpc/grpc_internal.h"

namespace sluice {
namespace grpc_internal {
namespace {

std::string TimeText(const ASN1_TIME* time) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new(BIO_s_mem()), BIO_free);
  if (!bio || ASN1_TIME_print(bio.get(), time) != 1) return "an unreadable date";
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

// Every certificate of a PEM text can be read, and (if `dates`) is valid now.
absl::Status CheckCertificates(const std::string& pem, absl::string_view what, bool dates) {
  std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  int found = 0;
  while (X509* raw = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    std::unique_ptr<X509, void (*)(X509*)> certificate(raw, X509_free);
    ++found;
    if (!dates) continue;
    if (X509_cmp_current_time(X509_get0_notAfter(raw)) < 0) {
      return FailedPrecondition(what, " expired on ", TimeText(X509_get0_notAfter(raw)),
                                "; renew it (or check this machine's clock)");
    }
    if (X509_cmp_current_time(X509_get0_notBefore(raw)) > 0) {
      return FailedPrecondition(what, " is not valid before ", TimeText(X509_get0_notBefore(raw)),
                                "; check this machine's clock");
    }
  }
  if (found == 0) return InvalidArgument(what, " holds no PEM certificate (-----BEGIN CERTIFICATE-----)");
  return absl::OkStatus();
}

absl::Status CheckOwn(const GrpcOptions& options) {
  RETURN_IF_ERROR(CheckCertificates(options.certificate, "this task's TLS certificate", true));
  std::unique_ptr<BIO, int (*)(BIO*)> key_bio(
      BIO_new_mem_buf(options.private_key.data(), static_cast<int>(options.private_key.size())), BIO_free);
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr),
                                                     EVP_PKEY_free);
  if (!key) return InvalidArgument("this task's TLS private key is not a PEM key without a password");
  std::unique_ptr<BIO, int (*)(BIO*)> bio(
      BIO_new_mem_buf(options.certificate.data(), static_cast<int>(options.certificate.size())), BIO_free);
  std::unique_ptr<X509, void (*)(X509*)> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                     X509_free);
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return InvalidArgument("this task's TLS private key does not belong to its certificate");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientCredentials(const GrpcOptions& options) {
  if (options.root_certificates.empty()) {
    if (!options.certificate.empty()) {
      return InvalidArgument("a TLS certificate without root certificates: whom should this task trust?");
    }
    return grpc::InsecureChannelCredentials();
  }
  RETURN_IF_ERROR(CheckCertificates(options.root_certificates, "the TLS root certificates", false));
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.root_certificates;
  if (!options.certificate.empty()) {
    RETURN_IF_ERROR(CheckOwn(options));
    ssl.pem_cert_chain = options.certificate;
    ssl.pem_private_key = options.private_key;
  }
  return grpc::SslCredentials(ssl);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const GrpcOptions& options) {
  if (options.certificate.empty()) {
    if (options.require_client_certificate) {
      return InvalidArgument("client certificates are required, but this task has no TLS certificate of its own");
    }
    return grpc::InsecureServerCredentials();
  }
  RETURN_IF_ERROR(CheckOwn(options));
  if (options.require_client_certificate) {
    RETURN_IF_ERROR(CheckCertificates(options.root_certificates, "the TLS root certificates", false));
  }
  grpc::SslServerCredentialsOptions ssl(options.require_client_certificate
                                            ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                            : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  ssl.pem_root_certs = options.root_certificates;
  ssl.pem_key_cert_pairs.push_back({options.private_key, options.certificate});
  return grpc::SslServerCredentials(ssl);
}

}  // namespace grpc_internal
}  // namespace sluice
