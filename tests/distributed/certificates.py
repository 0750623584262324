"""Certificates for tests of TLS: two authorities, and what they sign."""
import os
import subprocess


class Certificates:
    """Made by openssl, each in a folder of the test."""

    def __init__(self, folder):
        self.folder = str(folder)
        for authority in ("ca", "other"):
            self._openssl("ecparam -name prime256v1 -genkey -noout -out %s.key" % authority)
            self._openssl("req -x509 -new -key %s.key -days 2 -subj /CN=%s-authority -out %s.pem" % ((authority,) * 3))

    def _openssl(self, command):
        subprocess.run(["openssl"] + command.split(), cwd=self.folder, check=True, capture_output=True, timeout=60)

    def make(self, name, host="localhost", authority="ca", days=2):
        """NAME.pem and NAME.key; `days` -1 for one that has expired."""
        with open(self.folder + "/names", "w", encoding="utf-8") as f:
            f.write("subjectAltName=%s:%s\n" % ("IP" if host[0].isdigit() else "DNS", host))
        self._openssl("ecparam -name prime256v1 -genkey -noout -out %s.key" % name)
        self._openssl("req -new -key %s.key -subj /CN=%s -out %s.csr" % ((name,) * 3))
        self._openssl("x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -extfile names -days %d -out %s.pem"
                      % (name, authority, authority, days, name))

    def environ(self, certificate=None, root="ca", mutual=False):
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_TLS")}
        if root:
            environ["SLUICE_TLS_ROOT"] = "%s/%s.pem" % (self.folder, root)
        if certificate:
            environ["SLUICE_TLS_CERT"] = "%s/%s.pem" % (self.folder, certificate)
            environ["SLUICE_TLS_KEY"] = "%s/%s.key" % (self.folder, certificate)
        if mutual:
            environ["SLUICE_TLS_MUTUAL"] = "1"
        return environ
