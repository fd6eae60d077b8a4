"""The Firestore half of the embedded backend."""
