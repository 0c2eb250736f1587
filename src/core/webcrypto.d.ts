// The declarations of @peculiar/x509 and @peculiar/webcrypto use these types of the DOM
// library. Without this file they would become `any`.
type Algorithm = import('node:crypto').webcrypto.Algorithm;
type AlgorithmIdentifier = import('node:crypto').webcrypto.AlgorithmIdentifier;
type BufferSource = import('node:crypto').webcrypto.BufferSource;
type CryptoKeyPair = import('node:crypto').webcrypto.CryptoKeyPair;
type EcKeyGenParams = import('node:crypto').webcrypto.EcKeyGenParams;
type EcKeyImportParams = import('node:crypto').webcrypto.EcKeyImportParams;
type EcdsaParams = import('node:crypto').webcrypto.EcdsaParams;
type HashAlgorithmIdentifier = import('node:crypto').webcrypto.HashAlgorithmIdentifier;
type KeyAlgorithm = import('node:crypto').webcrypto.KeyAlgorithm;
type KeyUsage = import('node:crypto').webcrypto.KeyUsage;
type RsaHashedImportParams = import('node:crypto').webcrypto.RsaHashedImportParams;
type RsaHashedKeyGenParams = import('node:crypto').webcrypto.RsaHashedKeyGenParams;
