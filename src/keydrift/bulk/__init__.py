"""Reading at scale: by subscription instead of by key store, with the same facts in the same shape."""
