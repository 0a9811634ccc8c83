"""Admin list filters for columns with too many values to list them."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin import FieldListFilter
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.utils.safestring import SafeString

from common.admin.widgets import SafeAutocompleteSelect, is_valid_value


class AutocompleteFilter(FieldListFilter):
    """Filter by a row of another table, in an autocomplete field."""

    template = "admin/autocomplete_filter.html"

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: Any,
        model: type[Model],
        model_admin: admin.ModelAdmin[Any],
        field_path: str,
    ) -> None:
        self.parameter = f"{field_path}__exact"
        self.used_parameters: dict[str, Any]
        super().__init__(field, request, params, model, model_admin, field_path)
        chosen = self.used_parameters.get(self.parameter)
        self.chosen = chosen[-1] if chosen else ""
        self.widget = SafeAutocompleteSelect(
            field, model_admin.admin_site, attrs={"aria-label": str(self.title)}
        )
        self.widget.is_required = False
        self.widget.choices = field.formfield().choices
        self.hidden_params = [
            (name, value)
            for name, values in request.GET.lists()
            if name not in (self.parameter, "p")
            for value in values
        ]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"all": changelist.get_query_string(remove=[self.parameter])}

    def field_html(self) -> SafeString:
        """Return the HTML of the field, with the current choice selected."""
        return self.widget.render(self.parameter, self.chosen, {"id": f"filter-{self.field_path}"})

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.chosen:
            return queryset
        if not is_valid_value(self.widget.field.target_field, self.chosen):
            return queryset.none()
        return queryset.filter(**{self.parameter: self.chosen})


def autocomplete_media(model_admin: admin.ModelAdmin[Any]) -> Media:
    """Return the scripts and style sheets that AutocompleteFilter needs."""
    field = model_admin.opts.get_field(model_admin.opts.pk.name)
    return SafeAutocompleteSelect(field, model_admin.admin_site).media
