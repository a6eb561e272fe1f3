from django.contrib.admin import AdminSite


class VigieAdminSite(AdminSite):
    site_header = "Vigie"
