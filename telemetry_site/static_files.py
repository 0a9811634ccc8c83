"""Static files as browsers get them: compressed, with a digest in each name, for ever."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # it has no types
    """Modules import each other by those names too."""

    support_js_module_import_aggregation = True
