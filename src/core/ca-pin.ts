/**
 * The SHA-256 hash of the public key of a CA (its SubjectPublicKeyInfo, RFC 7469 2.4): `sha256:`
 * and 64 hexadecimal digits in lower case. kubeadm prints it for `--discovery-token-ca-cert-hash`.
 */
export type CaPin = `sha256:${string}`;

/** Accepts capitals in the digits, as kubeadm does (pubkeypin.Set). Undefined for any other text. */
export function parseCaPin(text: string): CaPin | undefined {
  const digits = /^sha256:([\da-f]{64})$/i.exec(text)?.[1];
  return digits === undefined ? undefined : `sha256:${digits.toLowerCase()}`;
}

/** Prints the digits of the pin of a kubeadm cluster, as kubeadm documents it, for any kind of key. */
export const caPinCommand =
  "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | openssl dgst -sha256 -hex | sed 's/^.* //'";
