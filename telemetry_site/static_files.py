"""Storage of static files: compressed, with a digest in each name, so that browsers may cache them
forever.
"""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # it has no types
    """Also rewrites the names in imports of JavaScript modules."""

    support_js_module_import_aggregation = True
