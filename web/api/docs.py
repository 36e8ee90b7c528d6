"""The API's own documentation, from files of ours: nothing is fetched from elsewhere."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from web.house import TheHouse

router: Final = APIRouter(include_in_schema=False)


@router.get("/api/docs")
def docs(request: Request, house: TheHouse) -> Response:
    """Swagger UI over /api/openapi.json."""
    return house.page(request, "swagger.html")
